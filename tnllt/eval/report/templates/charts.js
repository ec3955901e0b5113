// Charts that several pages use: lines over a threshold, and a table of coloured cells.
function ticks(low, high, about) {
  const rough = (high - low) / about || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((k) => k * power).find((s) => s >= rough);
  const found = [];
  for (let x = Math.ceil(low / step - 1e-9) * step; x <= high + step * 1e-6; x += step) found.push(Math.abs(x) < step / 1e6 ? 0 : x);
  return found;
}
const neat = (x) => String(Number(x.toPrecision(6)));

/** Axes of a chart: returns {root, plot, x, y} where x and y turn values into pixels. */
function axes({ width, height, xs, ys, xLabel, yLabel, label, logX = false, xTicks = null, yTicks = null }) {
  const pad = { left: 46, right: 12, top: 10, bottom: 40 };
  const tx = logX ? Math.log10 : (v) => v;
  const x = (v) => pad.left + ((tx(v) - tx(xs[0])) / (tx(xs[1]) - tx(xs[0]) || 1)) * (width - pad.left - pad.right);
  const y = (v) => height - pad.bottom - ((v - ys[0]) / (ys[1] - ys[0] || 1)) * (height - pad.top - pad.bottom);
  const root = svg('svg', { class: 'chart', viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': label });
  for (const v of yTicks || ticks(ys[0], ys[1], 5)) {
    root.append(svg('line', { class: 'grid', x1: pad.left, x2: width - pad.right, y1: y(v), y2: y(v) }),
      svg('text', { x: pad.left - 8, y: y(v) + 4, 'text-anchor': 'end' }, neat(v)));
  }
  for (const v of xTicks || ticks(xs[0], xs[1], width < 420 ? 4 : 8)) {
    root.append(svg('line', { class: 'grid', x1: x(v), x2: x(v), y1: pad.top, y2: height - pad.bottom }),
      svg('text', { x: x(v), y: height - pad.bottom + 17, 'text-anchor': 'middle' }, neat(v)));
  }
  root.append(
    svg('line', { class: 'axis', x1: pad.left, x2: width - pad.right, y1: height - pad.bottom, y2: height - pad.bottom }),
    svg('text', { class: 'title', x: (pad.left + width - pad.right) / 2, y: height - 5, 'text-anchor': 'middle' }, xLabel),
    svg('text', { class: 'title', transform: `translate(12 ${(height - pad.bottom + pad.top) / 2}) rotate(-90)`, 'text-anchor': 'middle' }, yLabel));
  return { root, x, y, pad };
}

/** Curves {tracker, name, look, values}, with a crosshair that reads them all; `focus` is the tracker that stands out, or null. */
function lineChart(node, { thresholds, curves, xLabel, yLabel, label, mark, focus = null }) {
  const width = Math.max(280, node.clientWidth);
  const height = Math.round(clip(width * 0.62, 260, 430));
  const xs = [thresholds[0], thresholds[thresholds.length - 1]];
  const { root, x, y, pad } = axes({ width, height, xs, ys: [0, 1], xLabel, yLabel, label });
  if (known(mark)) root.append(svg('line', { x1: x(mark), x2: x(mark), y1: y(0), y2: y(1), stroke: 'var(--muted)', 'stroke-dasharray': '3 3' }));
  for (const { tracker, look: own, values } of curves) {
    const points = values.map((v, i) => `${x(thresholds[i]).toFixed(1)},${y(v).toFixed(1)}`).join(' ');
    root.append(svg('polyline', {
      points, fill: 'none', stroke: 'var(--c)', 'stroke-dasharray': own.dash, 'stroke-width': focus === tracker ? 3.6 : 2,
      'stroke-linejoin': 'round', 'data-tracker': tracker,
      class: own.class + (focus !== null && focus !== tracker ? ' dim' : ''),
    }));
  }
  const hair = svg('line', { y1: y(0), y2: y(1), stroke: 'var(--ink)', opacity: 0 });
  root.append(hair);
  root.addEventListener('pointermove', (event) => {
    const box = root.getBoundingClientRect();
    const at = ((event.clientX - box.left) * width / box.width - pad.left) / (width - pad.left - pad.right);
    const i = clip(Math.round(at * (thresholds.length - 1)), 0, thresholds.length - 1);
    hair.setAttribute('x1', x(thresholds[i])); hair.setAttribute('x2', x(thresholds[i])); hair.setAttribute('opacity', 0.35);
    const rows = curves.map((c) => [c.values[i], c.name]).sort((a, b) => b[0] - a[0]);
    showTip(`${xLabel}: ${neat(thresholds[i])}\n` + rows.slice(0, 12).map(([v, name]) => `${fixed(v)}  ${short(name, 32)}`).join('\n'), event.clientX, event.clientY);
  });
  root.addEventListener('pointerleave', () => { hair.setAttribute('opacity', 0); hideTip(); });
  node.replaceChildren(root);
}

/** Table of coloured cells: arrow keys move, Enter or a click picks. */
function heatTable({ caption, corner, rows, columns, value, low, high, pick, digits = 2 }) {
  const bodyRows = rows.map((row, r) => {
    const values = columns.map((column) => value(row.id, column.id));
    const best = Math.max(...values.filter(known));
    return el('tr', {}, el('th', { scope: 'row', title: row.name }, short(row.name, 80), row.note ? el('small', {}, ' ' + row.note) : ''),
      values.map((v, c) => {
        const tint = known(v) ? ramp((v - low) / (high - low || 1)) : { back: 'var(--raised)', front: 'var(--muted)' };
        return el('td', {
          tabindex: r === 0 && c === 0 ? 0 : -1, 'data-r': r, 'data-c': c, class: known(v) && v === best && columns.length > 1 ? 'best' : '',
          style: { background: tint.back, color: tint.front },
          'aria-label': `${short(row.name, 80)}, ${short(columns[c].name, 80)}: ${fixed(v)}`,
        }, known(v) ? v.toFixed(digits).replace(/^0(?=\.)/, '').replace(/^-0(?=\.)/, '−') : '–');
      }));
  });
  const table = el('table', { class: 'heat' + (columns.length <= 6 ? ' few' : '') }, el('caption', { class: 'skip' }, caption),
    el('thead', {}, el('tr', {}, el('th', {}, corner), columns.map((c) => el('th', { scope: 'col', class: 'up', title: c.name }, el('span', {}, short(c.name, 40)))))),
    el('tbody', {}, bodyRows));
  const cellAt = (r, c) => table.querySelector(`td[data-r="${r}"][data-c="${c}"]`);
  const place = (td) => [Number(td.dataset.r), Number(td.dataset.c)];
  table.addEventListener('keydown', (event) => {
    const td = event.target.closest('td');
    if (!td) return;
    const [r, c] = place(td);
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) {
      const next = cellAt(clip(r + step[0], 0, rows.length - 1), clip(c + step[1], 0, columns.length - 1));
      td.tabIndex = -1; next.tabIndex = 0; next.focus();
      event.preventDefault();
    } else if (event.key === 'Enter' || event.key === ' ') { pick(rows[r], columns[c]); event.preventDefault(); }
  });
  table.addEventListener('click', (event) => {
    const td = event.target.closest('td');
    if (td) { const [r, c] = place(td); pick(rows[r], columns[c]); }
  });
  table.addEventListener('pointermove', (event) => {
    const td = event.target.closest('td');
    if (!td) { hideTip(); return; }
    const [r, c] = place(td);
    showTip(`${short(rows[r].name, 60)}\n${short(columns[c].name, 60)}: ${fixed(value(rows[r].id, columns[c].id))}`, event.clientX, event.clientY);
  });
  table.addEventListener('pointerleave', hideTip);
  return table;
}

function rampKey(low, high) {
  const steps = range(10).map((i) => ramp(i / 9).back).join(', ');
  return el('span', { class: 'ramp' }, fixed(low, 2), el('i', { style: { background: `linear-gradient(to right, ${steps})` } }), fixed(high, 2));
}
