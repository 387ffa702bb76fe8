'use strict';

// Charts by their identifier: curves over x values of their own, with bands or error bars, drawn by uPlot.
const Charts = (() => {
  const NUM_COLORS = 8;
  const HEIGHT = 260;
  const drawn = new Map();

  function css(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function colorOf(series, index) {
    return css(`--curve-${(series.color ?? index) % NUM_COLORS}`);
  }

  function short(value) {
    if (value == null) return '–';
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
    return String(Number(value.toPrecision(4)));
  }

  // Each curve becomes one row of values, and two more for its band. uPlot spans the places that only others have.
  function aligned(spec) {
    return uPlot.join(spec.series.map((s) => (s.low.length ? [s.x, s.y, s.low, s.high] : [s.x, s.y])));
  }

  function rows(spec) {
    let next = 1;
    return spec.series.map((s) => {
      const at = next;
      next += s.low.length ? 3 : 1;
      return at;
    });
  }

  function options(figure, spec, width, chart) {
    const ink = css('--soft');
    const grid = { stroke: css('--line'), width: 1 };
    const bands = [];
    const series = [{}];
    spec.series.forEach((s, index) => {
      const color = colorOf(s, index);
      series.push({
        label: s.name,
        stroke: color,
        width: 2,
        dash: s.dashed ? [6, 4] : undefined,
        points: { show: s.points || s.x.length === 1, size: 6, fill: color },
        show: chart.shown[index],
      });
      if (s.low.length) {
        const at = series.length;
        for (const end of ['low', 'high']) {
          series.push({ label: `${s.name} ${end}`, stroke: 'transparent', points: { show: false }, show: chart.shown[index] });
        }
        if (!s.points) bands.push({ series: [at + 1, at], fill: `${color}33` });
      }
    });
    return {
      width,
      height: HEIGHT,
      series,
      bands,
      legend: { show: false },
      cursor: { drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { distr: chart.log ? 3 : 1 } },
      axes: [
        { stroke: ink, grid, ticks: grid, label: spec.xLabel, labelSize: 20, size: 36 },
        { stroke: ink, grid, ticks: grid, size: 64, values: (u, ticks) => ticks.map((t) => (t == null ? '' : short(t))) },
      ],
      hooks: { draw: [(u) => marks(u, spec, chart)], setCursor: [(u) => readout(u, chart)] },
    };
  }

  // Error bars of the points, and a ring around the best one.
  function marks(u, spec, chart) {
    const { ctx } = u;
    const at = rows(spec);
    ctx.save();
    spec.series.forEach((s, index) => {
      if (!chart.shown[index]) return;
      ctx.strokeStyle = colorOf(s, index);
      ctx.lineWidth = 1.5 * devicePixelRatio;
      const place = (x, y) => [u.valToPos(x, 'x', true), u.valToPos(y, 'y', true)];
      if (s.points && s.low.length) {
        const half = 4 * devicePixelRatio;
        s.x.forEach((x, i) => {
          if (s.low[i] == null || s.high[i] == null) return;
          const [left, top] = place(x, s.high[i]);
          const bottom = place(x, s.low[i])[1];
          ctx.beginPath();
          ctx.moveTo(left, top);
          ctx.lineTo(left, bottom);
          for (const y of [top, bottom]) {
            ctx.moveTo(left - half, y);
            ctx.lineTo(left + half, y);
          }
          ctx.stroke();
        });
      }
      if (s.best != null && s.y[s.best] != null) {
        const [left, top] = place(s.x[s.best], s.y[s.best]);
        ctx.beginPath();
        ctx.arc(left, top, 8 * devicePixelRatio, 0, 2 * Math.PI);
        ctx.stroke();
      }
    });
    ctx.restore();
  }

  // The legend shows the values under the cursor, else the newest ones.
  function readout(u, chart) {
    const { spec, values } = chart;
    const at = rows(spec);
    const idx = u.cursor.left >= 0 ? u.cursor.idx : null;
    spec.series.forEach((s, index) => {
      const row = u.data[at[index]];
      let i = idx ?? u.data[0].length - 1;
      while (i > 0 && row[i] == null) i -= 1;
      const range = s.low.length && row[i] != null ? ` (${short(u.data[at[index] + 1][i])} to ${short(u.data[at[index] + 2][i])})` : '';
      const best = s.best != null && idx == null ? `, best ${short(s.y[s.best])} at ${short(s.x[s.best])}` : '';
      values[index].textContent = `${short(row[i])}${range}${best}`;
    });
    const x = u.data[0][idx ?? u.data[0].length - 1];
    chart.where.textContent = x == null ? '' : `${chart.spec.xLabel} ${short(x)}`;
  }

  function swatch(index) {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    const line = document.createElementNS('http://www.w3.org/2000/svg', 'line');
    svg.setAttribute('viewBox', '0 0 16 8');
    svg.setAttribute('aria-hidden', 'true');
    for (const [name, value] of [['x1', 0], ['y1', 4], ['x2', 16], ['y2', 4], ['stroke-width', 3]]) line.setAttribute(name, value);
    svg.append(line);
    return { svg, line };
  }

  function legend(figure, chart) {
    const place = figure.querySelector('.legend');
    place.replaceChildren();
    chart.lines = [];
    chart.values = chart.spec.series.map((s, index) => {
      const button = document.createElement('button');
      const value = document.createElement('span');
      const { svg, line } = swatch(index);
      value.className = 'value';
      button.type = 'button';
      button.setAttribute('aria-pressed', String(chart.shown[index]));
      button.append(svg, s.name, value);
      button.addEventListener('click', () => {
        chart.shown[index] = !chart.shown[index];
        button.setAttribute('aria-pressed', String(chart.shown[index]));
        build(figure, chart);
      });
      chart.lines.push(line);
      place.append(button);
      return value;
    });
    const log = document.createElement('button');
    log.type = 'button';
    log.className = 'scale';
    log.textContent = 'log scale';
    log.setAttribute('aria-pressed', 'false');
    log.addEventListener('click', () => {
      chart.log = !chart.log;
      log.setAttribute('aria-pressed', String(chart.log));
      build(figure, chart);
    });
    log.hidden = !chart.spec.series.every((s) => [...s.y, ...s.low].every((y) => y == null || y > 0));
    chart.where = document.createElement('span');
    chart.where.className = 'small';
    place.prepend(chart.where);
    place.append(log);
  }

  function build(figure, chart) {
    const plot = figure.querySelector('.plot');
    const width = Math.max(plot.clientWidth, 200);
    chart.plot?.destroy();
    chart.lines.forEach((line, index) => line.setAttribute('stroke', colorOf(chart.spec.series[index], index)));
    const data = aligned(chart.spec);
    chart.plot = new uPlot(options(figure, chart.spec, width, chart), data, plot);
    readout(chart.plot, chart);
  }

  // Arrow keys move the cursor from point to point, Home and End to the ends, Escape removes it.
  function keyboard(figure, chart) {
    const plot = figure.querySelector('.plot');
    plot.tabIndex = 0;
    plot.setAttribute('role', 'group');
    plot.setAttribute('aria-label', `${chart.spec.title}; arrow keys read the values`);
    plot.addEventListener('keydown', (event) => {
      const u = chart.plot;
      const last = u.data[0].length - 1;
      const now = u.cursor.left >= 0 ? u.cursor.idx ?? last : last;
      const step = event.shiftKey ? Math.max(1, Math.round(last / 20)) : 1;
      const target = { ArrowLeft: now - step, ArrowRight: now + step, Home: 0, End: last }[event.key];
      if (event.key === 'Escape') u.setCursor({ left: -10, top: -10 });
      if (target === undefined) return;
      event.preventDefault();
      const x = u.data[0][Math.min(Math.max(target, 0), last)];
      u.setCursor({ left: u.valToPos(x, 'x'), top: 10 });
    });
  }

  function create(figure, spec) {
    const chart = { spec, log: false, shown: spec.series.map(() => true), plot: null };
    drawn.set(figure.dataset.chart, { figure, chart });
    legend(figure, chart);
    keyboard(figure, chart);
    build(figure, chart);
    new ResizeObserver(() => {
      const width = Math.max(figure.querySelector('.plot').clientWidth, 200);
      if (width !== chart.plot.width) chart.plot.setSize({ width, height: HEIGHT });
    }).observe(figure.querySelector('.plot'));
  }

  // Adds points to the end of a series; the chart is drawn again. point: {x, y, low, high, best}, each a list.
  function append(key, index, points) {
    const found = drawn.get(key);
    if (!found) return;
    const series = found.chart.spec.series[index];
    const banded = series.low.length > 0 || (series.x.length === 0 && points.low.length > 0);
    series.x.push(...points.x);
    series.y.push(...points.y);
    if (banded) {
      series.low.push(...(points.low.length ? points.low : points.y));
      series.high.push(...(points.high.length ? points.high : points.y));
    }
    series.best = points.best ?? series.best;
    build(found.figure, found.chart);
  }

  function redraw() {
    for (const { figure, chart } of drawn.values()) build(figure, chart);
  }

  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  return { create, append, drawn };
})();
