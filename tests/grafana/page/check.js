// Asks Grafana's own code whether it understands the dashboards: node check.cjs FILE
// FILE has the dashboards and a recording. Prints what is wrong, a line for each, and nothing else.
import fs from 'node:fs';
import { getFieldDisplayName, getFieldDisplayValuesProxy, getValueFormats } from '@grafana/data';
import { framesOf } from './frames.js';
import { fieldsOf, themes } from './fields.js';

const units = new Set(getValueFormats().flatMap((group) => group.submenu.map((format) => format.value)));
const { boards, recording } = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));

async function main() {
  for (const board of boards) {
    for (const panel of board.panels.filter((panel) => panel.type !== 'row')) {
      for (const wrong of await check(panel, recording[board.uid])) {
        console.log(`${board.uid}: ${panel.title}: ${wrong}`);
      }
    }
  }
}

async function check(panel, recorded) {
  const data = await fieldsOf(panel, framesOf(panel, recorded.answers, recorded.step * 1000), themes.dark);
  const fields = data.flatMap((frame) => frame.fields.map((field) => [getFieldDisplayName(field, frame, data), field]));
  const names = new Set(fields.map(([name]) => name));
  return [
    ...unknownUnits(panel.fieldConfig),
    ...(panel.type === 'table' && data.length ? [...idleOverrides(panel, names), ...deadLinks(data[0])] : []),
  ];
}

function unknownUnits({ defaults, overrides }) {
  const own = overrides.flatMap((override) => override.properties.filter((one) => one.id === 'unit'));
  const all = [defaults.unit, ...own.map((property) => property.value)];
  return all.filter((unit) => !units.has(unit)).map((unit) => `unknown unit ${unit}`);
}

function idleOverrides(panel, names) {
  const named = panel.fieldConfig.overrides.filter(({ matcher }) => matcher.id === 'byName');
  const columns = named.map(({ matcher }) => matcher.options);
  return columns.filter((name) => !names.has(name)).map((name) => `no column ${name}, only ${[...names]}`);
}

/** Columns that a link takes a value of, and that are not there or have none in the first row. */
function deadLinks(frame) {
  const row = getFieldDisplayValuesProxy({ frame, rowIndex: 0 });
  const urls = frame.fields.flatMap((field) => (field.config.links ?? []).map((link) => link.url));
  const used = urls.flatMap((url) => [...url.matchAll(/\$\{__data\.fields\.(\w+)(?:\.(\w+))?\}/g)]);
  return used
    .filter(([, name, part]) => !(part ? Number.isFinite(row[name]?.[part]) : String(row[name] ?? '')))
    .map(([variable]) => `a link has no ${variable}`);
}

main();
