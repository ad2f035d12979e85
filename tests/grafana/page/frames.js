// Data frames of Prometheus' answers, as Grafana's Prometheus data source makes them.
import { FieldType, toDataFrame } from '@grafana/data';

/** The frames of a panel: of each query one frame per series, or one in all for a table. */
export function framesOf(panel, answers, stepMs) {
  const answered = panel.targets.map((target) => [target, answerTo(target, answers)]);
  const several = answered.filter(([, series]) => series.length).length > 1;
  return answered.flatMap(([target, series]) => {
    if (target.format === 'table') {
      return series.length ? [tableFrame(target, series, several)] : [];
    }
    return series.map((one) => seriesFrame(target, one, stepMs));
  });
}

/** The series that Prometheus gave for a query. */
export function answerTo(target, answers) {
  const series = answers[target.instant ? 'instant' : 'range'][target.expr];
  if (!series) {
    throw new Error(`not recorded: ${target.expr}`);
  }
  return series;
}

/** The points of a series as [ms, number]. */
export function pointsOf(series) {
  const points = series.values ?? [series.value];
  return points.map(([seconds, text]) => [seconds * 1000, Number(text)]);
}

function seriesFrame(target, series, stepMs) {
  const points = pointsOf(series);
  const name = legendOf(target.legendFormat, series.metric);
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: points.map(([time]) => time), config: { interval: stepMs } },
      {
        name: 'Value',
        type: FieldType.number,
        labels: series.metric,
        values: points.map(([, value]) => value),
        config: name ? { displayNameFromDS: name } : {},
      },
    ],
  });
}

function tableFrame(target, series, several) {
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
  const value = several ? `Value #${target.refId}` : 'Value';
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: series.map((one) => one.value[0] * 1000) },
      ...labels.map((name) => ({
        name,
        type: FieldType.string,
        values: series.map((one) => one.metric[name] ?? ''),
      })),
      { name: value, type: FieldType.number, values: series.map((one) => Number(one.value[1])) },
    ],
  });
}

function legendOf(format, labels) {
  return format === '__auto' ? '' : format.replace(/\{\{(\w+)\}\}/g, (_, label) => labels[label] ?? '');
}
