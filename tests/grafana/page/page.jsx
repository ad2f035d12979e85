// Draws a dashboard from recorded answers: window.PAGE has board, recorded, theme and width.
import React from 'react';
import { createRoot } from 'react-dom/client';
import { ThemeContext } from '@grafana/data';
import { GlobalStyles, PanelChrome } from '@grafana/ui';
import { answerTo, framesOf, pointsOf } from './frames.js';
import { fieldsOf, themes } from './fields.js';
import { Body } from './panels.jsx';

const { board, recorded, theme: mode, width } = window.PAGE;
const theme = themes[mode];
const range = { from: recorded.start * 1000, to: recorded.end * 1000 };
const [ROW, GAP, COLUMNS, HEAD] = [30, 8, 24, 40];
const isPhone = width < theme.breakpoints.values.md;

class Guard extends React.Component {
  state = {};
  static getDerivedStateFromError = (error) => ({ error });
  render() {
    return this.state.error ? null : this.props.children;
  }
}

/** Where panels are: in their places, or below each other on a phone. */
function place(panels) {
  const unit = (width - GAP) / COLUMNS;
  let below = HEAD;
  return panels.map((panel) => {
    const { x, y, w, h } = panel.gridPos;
    const box = { left: GAP + (isPhone ? 0 : x * unit), top: isPhone ? below : HEAD + y * (ROW + GAP) };
    const size = { width: (isPhone ? COLUMNS : w) * unit - GAP, height: h * (ROW + GAP) - GAP };
    below = box.top + size.height + GAP;
    return { panel, box, size };
  });
}

function marksOf(annotation) {
  const color = theme.visualization.getColorByName(annotation.iconColor);
  const series = answerTo(annotation, recorded.answers);
  const at = series.flatMap((one) => pointsOf(one).map(([ms, value]) => (annotation.useValueForTime ? Math.floor(value) : ms)));
  const stretches = at.filter((ms, index) => annotation.useValueForTime || ms - at[index - 1] !== recorded.step * 1000);
  return [...new Set(stretches)].map((ms) => ({ at: ms, color }));
}

function Page({ panels, marks }) {
  const placed = place(panels);
  const end = Math.max(...placed.map(({ box, size }) => box.top + size.height)) + GAP;
  const chosen = Object.entries(recorded.variables).map(([name, value]) => `${name}: ${value === '.*' ? 'All' : value}`);
  return (
    <div style={{ position: 'relative', width, height: end, background: theme.colors.background.canvas, overflow: 'hidden' }}>
      <div style={{ padding: 10, whiteSpace: 'nowrap' }}>
        <b>{board.title}</b> <span style={{ color: theme.colors.text.secondary }}>{chosen.join(', ')}</span>
      </div>
      {placed.map(({ panel, box, size }) => (
        <div key={panel.id} style={{ position: 'absolute', ...box, ...size }}>
          {panel.type === 'row' ? <h5 style={{ paddingTop: 6 }}>{panel.title}</h5> : <Panel panel={panel} size={size} marks={marks} />}
        </div>
      ))}
    </div>
  );
}

function Panel({ panel, size, marks }) {
  return (
    <Guard>
      <PanelChrome title={panel.title} description={panel.description} {...size}>
        {(innerWidth, innerHeight) => (
          <Guard>
            <Body panel={panel} data={panel.data} width={innerWidth} height={innerHeight} range={range} marks={marks} />
          </Guard>
        )}
      </PanelChrome>
    </Guard>
  );
}

async function main() {
  const data = (panel) => fieldsOf(panel, framesOf(panel, recorded.answers, recorded.step * 1000), theme);
  const panels = await Promise.all(
    board.panels.map(async (panel) => (panel.type === 'row' ? panel : { ...panel, data: await data(panel) }))
  );
  const marks = (board.annotations?.list ?? []).flatMap(marksOf);
  createRoot(document.getElementById('root')).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles isExtensionSidebarOpen={false} />
      <Page panels={panels} marks={marks} />
    </ThemeContext.Provider>
  );
}

main();
