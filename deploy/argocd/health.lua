-- The health of a FineTuneJob, as Argo CD judges a Job: finished is Healthy or Degraded, a user's
-- suspend is Suspended, and all else is Progressing. A wait that may end by itself (an image, a
-- node, a queue) is Progressing, with its reason.
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is_true(type)
  return conditions[type] ~= nil and conditions[type].status == "True"
end

local function message(type)
  return conditions[type] ~= nil and conditions[type].message or ""
end

local function with(reason, text)
  if text == nil or text == "" then
    return reason
  end
  return reason .. ": " .. text
end

if is_true("Failed") then
  return {status = "Degraded", message = with(conditions["Failed"].reason, message("Failed"))}
end
if is_true("Complete") then
  return {status = "Healthy", message = message("Complete")}
end
-- What was changed is not in the status yet.
local generation = obj.metadata ~= nil and obj.metadata.generation or 0
if (status.observedGeneration or 0) < generation then
  return {status = "Progressing", message = "Waiting for the operator"}
end
if is_true("Suspended") then
  return {status = "Suspended", message = message("Suspended")}
end
if obj.spec ~= nil and obj.spec.suspend then
  return {status = "Progressing", message = with("Suspending", message("Suspended"))}
end

local phase = status.phase or "Pending"
if status.failure ~= nil then
  return {status = "Progressing", message = with(phase, with(status.failure.reason, status.failure.message))}
end
if phase == "Queued" then
  return {status = "Progressing", message = with(phase, message("PodsReady"))}
end
local progress = status.trainerStatus ~= nil and status.trainerStatus.progressPercentage or nil
return {status = "Progressing", message = with(phase, progress and progress .. " %" or "")}
