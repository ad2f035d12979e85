// A state timeline: @grafana/ui has none, so this draws what Grafana's panel draws.
import React from 'react';
import { useTheme2 } from '@grafana/ui';

const LABELS = 70;
const AXIS = 20;

export function Timeline({ frames, width, height, range, rowHeight }) {
  const theme = useTheme2();
  const fields = frames.map((frame) => ({ time: frame.fields[0].values, field: frame.fields[1] }));
  const row = (height - AXIS) / fields.length;
  const x = (ms) => LABELS + ((ms - range.from) / (range.to - range.from)) * (width - LABELS);
  const text = { fill: theme.colors.text.primary, fontSize: 12, fontFamily: theme.typography.fontFamily };
  return (
    <svg width={width} height={height}>
      {fields.map(({ time, field }, index) => {
        const top = index * row + (row * (1 - rowHeight)) / 2;
        return (
          <g key={index}>
            <text x={0} y={index * row + row / 2 + 4} {...text}>{field.config.displayNameFromDS}</text>
            {spansOf(time, field.values, range.to).map(([from, to, value]) => (
              <Span key={from} left={x(from)} right={x(to)} top={top} height={row * rowHeight} shown={field.display(value)} text={text} />
            ))}
          </g>
        );
      })}
      {ticks(range).map((ms) => (
        <text key={ms} x={x(ms)} y={height - 4} textAnchor="middle" {...text} fill={theme.colors.text.secondary}>
          {new Date(ms).toISOString().slice(11, 16)}
        </text>
      ))}
    </svg>
  );
}

function Span({ left, right, top, height, shown, text }) {
  const fits = shown.text.length * 7 + 8 < right - left;
  return (
    <g>
      <rect x={left} y={top} width={Math.max(1, right - left - 1)} height={height} fill={shown.color} fillOpacity={0.8} />
      {fits && <text x={left + 4} y={top + height / 2 + 4} {...text} fill="white">{shown.text}</text>}
    </g>
  );
}

/** [from, to, value] of each stretch of equal values; a stretch lasts until the next one. */
function spansOf(times, values, end) {
  const starts = values.map((value, index) => index).filter((index) => values[index] !== values[index - 1]);
  return starts.map((start, index) => [times[start], times[starts[index + 1]] ?? end, values[start]]);
}

function ticks({ from, to }) {
  const step = [1, 5, 10, 30, 60, 120, 360].map((m) => m * 60000).find((ms) => (to - from) / ms <= 7) ?? to - from;
  const first = Math.ceil(from / step) * step;
  return Array.from({ length: Math.floor((to - first) / step) + 1 }, (_, index) => first + index * step);
}
