// Curves per metric and sequence set; radar and heat map over attributes.
function curveOf(key) { return D.curves[key] || D.curves[D.metrics.find((m) => m.key === key).curve] || null; }

function drawCurves() {
  const keys = Object.keys(D.curves);
  const current = curveOf(state.metric) ? (D.curves[state.metric] ? state.metric : metric().curve) : keys[0];
  const info = D.curves[current];
  if (!info) return;
  const order = ranked(info.metric);
  const curves = order.filter((t) => state.shown.has(t) && info.mean[state.set] && info.mean[state.set][t]).map((t) => ({ tracker: t, name: D.trackers[t].name, look: look(t), values: info.mean[state.set][t] }));
  lineChart($('#curves .plot'), {
    thresholds: info.thresholds, curves, xLabel: info.x, yLabel: info.y, mark: info.mark, focus: state.focus,
    label: `${info.label} of ${curves.length} trackers over ${D.sets[state.set].label}`,
  });
  $('#curves .legend').replaceChildren(...order.map((t) => {
    const name = D.trackers[t].name;
    return el('li', {}, el('label', { class: 'key' + (state.shown.has(t) ? '' : ' off'), title: short(name, 200),
      onpointerenter: () => change({ focus: t }), onpointerleave: () => change({ focus: null }) },
      el('input', { type: 'checkbox', checked: state.shown.has(t), 'data-show': t, onchange: (event) => toggle(t, event.target.checked) }),
      swatch(t), el('span', { class: 'v' }, `[${fixed(scoreOf(t, info.metric))}]`), el('span', { class: 't' }, short(name, 60))));
  }));
  $('#curves h2').textContent = `${info.label}: ${D.sets[state.set].label}`;
}
function focusCurves() {
  for (const line of document.querySelectorAll('#curves polyline')) {
    const t = Number(line.dataset.tracker);
    line.classList.toggle('dim', state.focus !== null && state.focus !== t);
    line.setAttribute('stroke-width', state.focus === t ? 3.6 : 2);
  }
}
function curvesCsv() {
  const rows = [['metric', 'sequences', 'tracker', 'threshold', 'value']];
  for (const info of Object.values(D.curves)) D.sets.forEach((set, s) => info.mean[s] && info.mean[s].forEach((values, t) =>
    values && values.forEach((v, i) => rows.push([info.metric, set.label, D.trackers[t].name, info.thresholds[i], v]))));
  return rows;
}

function initCurves() {
  const root = section('curves', 'Curves', 'Fraction of frames that pass each threshold, averaged over sequences. Point at the chart to read it; tick trackers to show or hide them.', csvButton('curves.csv', curvesCsv));
  root.append(el('div', { class: 'split' }, el('div', { class: 'plot' }), el('ul', { class: 'legend' })));
  responsive($('#curves .plot'), drawCurves);
  drawCurves();
  on(['metric', 'set', 'shown'], drawCurves);
  on(['focus'], focusCurves);
}

// ---- attributes
function radar(node, axesOf, shown) {
  const width = Math.max(280, node.clientWidth);
  const height = Math.min(460, Math.max(320, width * 0.9));
  const radius = Math.min(width / 2 - 64, height / 2 - 34);
  const all = axesOf.flatMap((s) => range(D.trackers.length).map((t) => scoreOf(t, state.metric, s))).filter(known);
  if (!all.length) { node.replaceChildren(); return; }
  const low = Math.max(0, Math.floor((Math.min(...all) - 0.05) * 10) / 10);
  const high = Math.min(1, Math.ceil(Math.max(...all) * 10) / 10);
  const at = (i, v) => {
    const angle = -Math.PI / 2 + (i / axesOf.length) * 2 * Math.PI;
    const r = radius * clip((v - low) / (high - low || 1), 0, 1);
    return [width / 2 + r * Math.cos(angle), height / 2 + r * Math.sin(angle)];
  };
  const ring = (v) => axesOf.map((_, i) => at(i, v).map((n) => n.toFixed(1)).join(',')).join(' ');
  const root = svg('svg', { class: 'chart', viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': `Radar of ${metric().label} over ${axesOf.length} attributes` });
  for (const v of ticks(low, high, 4)) {
    root.append(svg('polygon', { points: ring(v), fill: 'none', class: 'grid' }), svg('text', { x: at(0, v)[0] + 4, y: at(0, v)[1] + 4 }, neat(v)));
  }
  axesOf.forEach((s, i) => {
    const [x, y] = at(i, high);
    const [tx, ty] = [width / 2 + (x - width / 2) * (1 + 14 / radius), height / 2 + (y - height / 2) * (1 + 14 / radius)];
    const anchor = Math.abs(tx - width / 2) < 8 ? 'middle' : tx > width / 2 ? 'start' : 'end';
    root.append(svg('line', { class: 'grid', x1: width / 2, y1: height / 2, x2: x, y2: y }),
      svg('text', { class: 'title', x: tx, y: ty + 4, 'text-anchor': anchor, ...tipped(`${D.sets[s].label}: ${D.sets[s].count} sequences`) }, short(D.sets[s].key, 12)));
  });
  for (const t of shown) {
    const points = axesOf.map((s, i) => at(i, known(scoreOf(t, state.metric, s)) ? scoreOf(t, state.metric, s) : low));
    root.append(svg('polygon', { points: points.map((p) => p.map((n) => n.toFixed(1)).join(',')).join(' '), class: look(t).class, fill: 'var(--c)', 'fill-opacity': 0.06,
      stroke: 'var(--c)', 'stroke-width': 2, 'stroke-dasharray': look(t).dash, 'stroke-linejoin': 'round', ...tipped(short(D.trackers[t].name, 60)) }));
  }
  node.replaceChildren(root);
}

function drawAttributes() {
  const sets = range(D.sets.length).filter((s) => s > 0 && D.sets[s].count > 1);
  if (!sets.length) return;
  const shown = ranked().filter((t) => state.shown.has(t));
  const values = sets.flatMap((s) => ranked().map((t) => scoreOf(t, state.metric, s))).filter(known);
  const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
  $('#attributes .halves').classList.toggle('many', shown.length > 8);
  radar($('#attributes .radar'), sets, shown);
  $('#attributes .scroll').replaceChildren(heatTable({
    caption: `${metric().label} per attribute and tracker`, corner: 'Attribute', low, high, digits: 2,
    rows: sets.map((s) => ({ id: s, name: D.sets[s].label, note: D.sets[s].label === D.sets[s].key ? D.sets[s].count : `${D.sets[s].key} ${D.sets[s].count}` })),
    columns: shown.map((t) => ({ id: t, name: D.trackers[t].name })),
    value: (s, t) => scoreOf(t, state.metric, s), pick: (row) => { $('#set').value = row.id; change({ set: row.id }); },
  }));
  $('#attributes .rampkey').replaceChildren(rampKey(low, high));
  $('#attributes h2').textContent = `Attributes: ${metric().label}`;
}
function attributesCsv() {
  const head = ['attribute', 'sequences', ...D.trackers.map((t) => t.name)];
  return [head, ...range(D.sets.length).map((s) => [D.sets[s].label, D.sets[s].count, ...range(D.trackers.length).map((t) => scoreOf(t, state.metric, s))])];
}
function initAttributes() {
  if (!D.sets.some((set, s) => s > 0 && set.count > 1)) { section('attributes', 'Attributes', ''); $('#attributes').append(el('p', { class: 'note' }, 'This benchmark names no attribute that two sequences share.')); return; }
  const root = section('attributes', 'Attributes', 'The best tracker of each row is bold. Pick a row to see every chart for its sequences alone.', el('span', { class: 'rampkey' }), csvButton('attributes.csv', attributesCsv));
  root.append(el('div', { class: 'halves' }, el('div', { class: 'radar' }), el('div', { class: 'scroll tall fit' })));
  responsive($('#attributes .radar'), drawAttributes);
  drawAttributes();
  on(['metric', 'shown'], drawAttributes);
}
