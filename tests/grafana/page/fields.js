// How Grafana looks at fields: its units, transformations, and which override is for which field.
import {
  FieldConfigOptionsRegistry,
  applyFieldOverrides,
  cacheFieldDisplayNames,
  createTheme,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import { firstValueFrom } from 'rxjs';

const STANDARD = ['unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'color', 'thresholds', 'mappings', 'links'];

export const themes = { dark: createTheme({ colors: { mode: 'dark' } }), light: createTheme({ colors: { mode: 'light' } }) };

standardTransformersRegistry.setInit(() =>
  [...new Map(Object.values(standardTransformers).map((one) => [one.id, one])).values()].map((one) => ({
    id: one.id,
    name: one.name,
    transformation: () => Promise.resolve(one),
  }))
);

/** The panel's frames after its transformations, with defaults and overrides in their fields. */
export async function fieldsOf(panel, frames, theme) {
  const data = await firstValueFrom(transformDataFrame(panel.transformations ?? [], frames));
  const result = applyFieldOverrides({
    data,
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: registryOf(panel.fieldConfig),
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
  cacheFieldDisplayNames(result);
  return result;
}

/** A registry of the options that a panel sets; Grafana's application has the editors of all. */
function registryOf({ defaults, overrides }) {
  const set = overrides.flatMap((override) => override.properties.map((property) => property.id));
  const own = [...Object.keys(defaults.custom ?? {}).map((name) => `custom.${name}`), ...set];
  const custom = [...new Set(own.filter((id) => id.startsWith('custom.')))];
  return new FieldConfigOptionsRegistry(() => [
    ...STANDARD.map((id) => option(id, id)),
    ...custom.map((id) => ({ ...option(id, id.slice('custom.'.length)), isCustom: true })),
  ]);
}

function option(id, path) {
  return { id, path, name: id, settings: {}, process: (value) => value, shouldApply: () => true, editor: () => null };
}
