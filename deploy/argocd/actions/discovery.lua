-- The buttons of a FineTuneJob: one of suspend and resume, until it has finished.
local actions = {}
for _, condition in ipairs(obj.status ~= nil and obj.status.conditions or {}) do
  if (condition.type == "Complete" or condition.type == "Failed") and condition.status == "True" then
    return actions
  end
end
if obj.spec.suspend then
  actions["resume"] = {iconClass = "fa fa-fw fa-play"}
else
  actions["suspend"] = {iconClass = "fa fa-fw fa-pause"}
end
return actions
