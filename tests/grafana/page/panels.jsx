// The body of each kind of panel, drawn by Grafana's components.
import React from 'react';
import { dateTime, getDisplayValueAlignmentFactors, getFieldDisplayValues } from '@grafana/data';
import { BarGauge, BigValue, TimeSeries, VizRepeater, useTheme2 } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { Timeline } from './timeline.jsx';

/** The body of a panel: of its data, or of its text for no data. */
export function Body(props) {
  const { panel, data } = props;
  const isEmpty = !data.some((frame) => frame.length);
  if (isEmpty && !panel.fieldConfig.defaults.noValue) {
    console.error(`${panel.title}: no data, and no text for that`);
  }
  const Kind = { stat: Tile, bargauge: Bars, timeseries: Graph, table: Table, 'state-timeline': Phases }[panel.type];
  return isEmpty && panel.type !== 'stat' ? <Empty {...props} /> : <Kind {...props} />;
}

function Empty({ panel, width, height }) {
  const middle = { width, height, display: 'flex', alignItems: 'center', justifyContent: 'center', textAlign: 'center' };
  return <div style={middle}>{panel.fieldConfig.defaults.noValue ?? 'No data'}</div>;
}

function displaysOf({ panel, data }, theme) {
  const { reduceOptions } = panel.options;
  const replaceVariables = (text) => text;
  return getFieldDisplayValues({ data, reduceOptions, fieldConfig: panel.fieldConfig, replaceVariables, theme, timeZone: 'utc' });
}

function Tile(props) {
  const { panel, width, height } = props;
  const theme = useTheme2();
  const { colorMode, graphMode, justifyMode, textMode } = { justifyMode: 'auto', textMode: 'auto', ...panel.options };
  const displays = displaysOf(props, theme);
  return displays.slice(0, 1).map(({ display }) => (
    <BigValue key="value" value={textMode === 'name' && display.title ? { ...display, text: display.title } : display} count={1}
      width={width} height={height} theme={theme} colorMode={colorMode} graphMode={graphMode} justifyMode={justifyMode} textMode="value" />
  ));
}

function Bars(props) {
  const { panel, width, height } = props;
  const theme = useTheme2();
  return (
    <VizRepeater source={props.data} getValues={() => displaysOf(props, theme)} width={width} height={height} itemSpacing={10}
      minVizHeight={16} minVizWidth={8} orientation={panel.options.orientation} renderCounter={0}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value: { display, field, view, colIndex }, width, height, alignmentFactors, orientation }) => (
        <BarGauge value={display} display={view?.getFieldDisplayProcessor(colIndex)} field={field} width={width} height={height}
          alignmentFactors={alignmentFactors} orientation={orientation} theme={theme} itemSpacing={10} lcdCellWidth={12}
          displayMode={panel.options.displayMode} showUnfilled={panel.options.showUnfilled}
          valueDisplayMode={panel.options.valueMode} text={panel.options.text} namePlacement="auto" />
      )} />
  );
}

function Graph({ panel, data, width, height, range, marks }) {
  return (
    <TimeSeries frames={data} width={width} height={height} timeRange={timeRange(range)} timeZone="utc" legend={panel.options.legend}>
      {(config) => {
        config.addHook('draw', (plot) => marks.forEach((mark) => drawMark(plot, mark)));
        return null;
      }}
    </TimeSeries>
  );
}

/** An annotation, as Grafana draws it: a dashed line with a triangle below. */
function drawMark(plot, { at, color }) {
  const { ctx, bbox } = plot;
  const x = plot.valToPos(at, 'x', true);
  if (x < bbox.left || x > bbox.left + bbox.width) {
    return;
  }
  const [ratio, bottom] = [devicePixelRatio, bbox.top + bbox.height];
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = color;
  ctx.lineWidth = ratio;
  ctx.setLineDash([5 * ratio, 5 * ratio]);
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bottom);
  ctx.stroke();
  ctx.beginPath();
  ctx.moveTo(x - 4 * ratio, bottom + 5 * ratio);
  ctx.lineTo(x + 4 * ratio, bottom + 5 * ratio);
  ctx.lineTo(x, bottom);
  ctx.fill();
  ctx.restore();
}

function Table({ panel, data, width, height, range }) {
  return (
    <TableNG data={data[0]} width={width} height={height} structureRev={1} fieldConfig={panel.fieldConfig}
      timeRange={timeRange(range)} sortBy={panel.options.sortBy} cellHeight="sm" />
  );
}

function Phases({ panel, data, width, height, range }) {
  return <Timeline frames={data} width={width} height={height} range={range} rowHeight={panel.options.rowHeight} />;
}

function timeRange({ from, to }) {
  const [start, end] = [dateTime(from), dateTime(to)];
  return { from: start, to: end, raw: { from: start, to: end } };
}
