// Sequences x trackers, two trackers against each other, and the hardest sequences.
const matrix = { order: 'mean' };
function meanOf(s) {
  const values = range(D.trackers.length).map((t) => perSequence(t, s)).filter(known);
  return values.length ? values.reduce((a, b) => a + b, 0) / values.length : NaN;
}
function spreadOf(s) {
  const values = range(D.trackers.length).map((t) => perSequence(t, s)).filter(known);
  return values.length ? Math.max(...values) - Math.min(...values) : NaN;
}
function sequenceOrder() {
  const rows = inSet();
  const by = { mean: (s) => meanOf(s), spread: (s) => -spreadOf(s), frames: (s) => -D.sequences[s].frames }[matrix.order];
  if (!by) return rows.sort((a, b) => D.sequences[a].name.localeCompare(D.sequences[b].name, 'en', { numeric: true }));
  return rows.sort((a, b) => (known(by(a)) ? by(a) : 1e9) - (known(by(b)) ? by(b) : 1e9));
}
function drawMatrix() {
  const shown = ranked().filter((t) => state.shown.has(t));
  $('#matrix .scroll').replaceChildren(heatTable({
    caption: `${metric().label} per sequence and tracker`, corner: 'Sequence', low: 0, high: 1,
    rows: sequenceOrder().map((s) => ({ id: s, name: D.sequences[s].name, note: count(D.sequences[s].frames) })),
    columns: shown.map((t) => ({ id: t, name: D.trackers[t].name })),
    value: (s, t) => perSequence(t, s), pick: (row) => openSequence(row.id),
  }));
  $('#matrix h2').textContent = `Every sequence: ${metric().label}`;
}
function openSequence(s) {
  change({ sequence: s });
  document.getElementById('timeline').scrollIntoView({ behavior: reduced.matches ? 'auto' : 'smooth', block: 'start' });
}
function matrixCsv() {
  const head = ['sequence', 'frames', ...D.trackers.map((t) => t.name)];
  return [head, ...sequenceOrder().map((s) => [D.sequences[s].name, D.sequences[s].frames, ...range(D.trackers.length).map((t) => perSequence(t, s))])];
}
function initMatrix() {
  const order = el('select', { id: 'order', onchange: (event) => { matrix.order = event.target.value; drawMatrix(); } },
    [['mean', 'hardest first'], ['spread', 'most disputed first'], ['frames', 'longest first'], ['name', 'by name']].map(([value, label]) => el('option', { value }, label)));
  const root = section('matrix', 'Every sequence', 'Pick a cell to see that sequence frame by frame. Arrow keys move, Enter opens.',
    rampKey(0, 1), el('label', {}, el('span', { class: 'skip' }, 'Order of sequences'), order), csvButton('sequences.csv', matrixCsv));
  root.append(el('div', { class: 'scroll tall fit' }));
  drawMatrix();
  on(['metric', 'set', 'shown'], drawMatrix);
}

// ---- two trackers
function pairVerdict(a, b) {
  const key = a < b ? `${a}-${b}` : `${b}-${a}`;
  const found = D.pairs[state.metric] && D.pairs[state.metric][key];
  const flip = a < b ? 1 : -1;
  const both = inSet().map((s) => [perSequence(a, s), perSequence(b, s)]).filter((v) => v.every(known));
  const wins = both.filter(([x, y]) => x > y).length;
  const losses = both.filter(([x, y]) => x < y).length;
  const text = [`${short(D.trackers[a].name, 60)} wins ${wins} and loses ${losses} of ${both.length} sequences`];
  if (found && state.set === 0) {
    const [low, high] = flip > 0 ? [found.low, found.high] : [-found.high, -found.low];
    text.push(`difference ${signed(flip * found.difference)}` + (known(low) ? ` (${Math.round(D.confidence * 100)} % interval ${signed(low)} to ${signed(high)})` : ''));
    if (known(found.p)) text.push(`permutation test p = ${found.p < 0.001 ? found.p.toExponential(1) : found.p.toFixed(3)}` + (known(found.holm) ? `, ${found.holm < 0.001 ? found.holm.toExponential(1) : found.holm.toFixed(3)} after Holm over all pairs` : ''));
  }
  if (!found && state.set === 0 && D.pairs[state.metric] && D.paired < D.trackers.length) text.push(`intervals and tests are in this file for the ${D.paired} best trackers; for others, run: tnllt-eval compare A B`);
  return text.join('; ') + '.';
}
function drawPair() {
  const [a, b] = state.pair;
  if (D.trackers.length < 2) return;
  const node = $('#pair .plot');
  const width = Math.max(280, Math.min(560, node.clientWidth));
  const { root, x, y } = axes({ width, height: width * 0.9, xs: [0, 1], ys: [0, 1], label: 'Each sequence as a point: two trackers against each other',
    xLabel: short(D.trackers[a].name, 40), yLabel: short(D.trackers[b].name, 40) });
  root.append(svg('line', { class: 'axis', x1: x(0), y1: y(0), x2: x(1), y2: y(1), 'stroke-dasharray': '4 4' }));
  for (const s of inSet()) {
    const [va, vb] = [perSequence(a, s), perSequence(b, s)];
    if (!known(va) || !known(vb)) continue;
    root.append(svg('circle', { class: 'mark ' + look(va >= vb ? a : b).class, cx: x(va), cy: y(vb), r: 5, fill: 'var(--c)', 'fill-opacity': 0.65, stroke: 'var(--paper)',
      tabindex: 0, role: 'button', 'aria-label': `${short(D.sequences[s].name, 80)}: ${fixed(va)} against ${fixed(vb)}`,
      onclick: () => openSequence(s), onkeydown: (event) => { if (event.key === 'Enter') openSequence(s); },
      ...tipped(`${short(D.sequences[s].name, 60)}\n${short(D.trackers[a].name, 30)} ${fixed(va)}, ${short(D.trackers[b].name, 30)} ${fixed(vb)}`) }));
  }
  node.replaceChildren(root);
  $('#pair .verdict').textContent = pairVerdict(a, b);
  const gaps = inSet().map((s) => [s, perSequence(a, s) - perSequence(b, s)]).filter(([, d]) => known(d) && d !== 0).sort((p, q) => q[1] - p[1]);
  const list = (title, some) => !some.length ? [] : [el('h3', {}, title), el('ol', { class: 'legend' }, some.map(([s, d]) => el('li', { class: 'key' },
    el('span', { class: 'v' }, signed(d)), el('button', { class: 'link t', type: 'button', title: short(D.sequences[s].name, 200), onclick: () => openSequence(s) }, short(D.sequences[s].name, 60)))))];
  $('#pair .gaps').replaceChildren(...[...list(`${short(D.trackers[a].name, 30)} ahead`, gaps.filter((g) => g[1] > 0).slice(0, 7)),
    el('p', {}, ' '), ...list(`${short(D.trackers[b].name, 30)} ahead`, gaps.filter((g) => g[1] < 0).reverse().slice(0, 7))].flat());
}
function initPair() {
  if (D.trackers.length < 2) { document.getElementById('pair').hidden = true; return; }
  state.pair = ranked().slice(0, 2);
  const choose = (side) => el('select', { 'aria-label': side ? 'Second tracker' : 'First tracker', 'data-side': side,
    onchange: (event) => { const pair = [...state.pair]; pair[side] = Number(event.target.value); change({ pair }); } },
    ranked().map((t) => el('option', { value: t, selected: state.pair[side] === t }, short(D.trackers[t].name, 40))));
  const root = section('pair', 'Two trackers', '', choose(0), 'against', choose(1));
  root.append(el('p', { class: 'sub verdict' }), el('div', { class: 'split' }, el('div', { class: 'plot' }), el('div', { class: 'gaps' })));
  responsive($('#pair .plot'), drawPair);
  drawPair();
  on(['metric', 'set', 'pair'], drawPair);
}

// ---- the hardest
function initHardest() {
  if (!D.hardest.length) { document.getElementById('hardest').hidden = true; return; }
  const root = section('hardest', `The ${D.hardest.length} hardest sequences`,
    'By mean success over trackers' + (D.hardest.some((h) => h.thumbnails.length) ? ', each with the frames at which the trackers do worst; white is the ground truth, the boxes are the best three trackers\'.' : '. Images appear where the dataset has its frames (--root).'));
  root.append(el('ul', { class: 'hard' }, D.hardest.map((h) => {
    const s = D.sequences[h.sequence];
    return el('li', { class: 'card' },
      h.thumbnails.length ? el('div', { class: 'strip' }, h.thumbnails.map((p) => el('img', { src: p.src, alt: `Frame ${p.frame} of ${short(s.name, 80)}`, ...tipped(`Frame ${p.frame}: mean overlap ${fixed(p.overlap, 2)}`) }))) : '',
      el('div', { class: 'body' }, el('b', { title: short(s.name, 200) }, short(s.name, 120)),
        s.language ? el('p', { dir: 'auto' }, short(s.language, 200)) : '',
        el('p', {}, `mean ${fixed(h.mean)}, best ${fixed(h.best)} (${short(D.trackers[h.best_tracker].name, 30)}), ${count(s.frames)} frames `),
        el('button', { class: 'link', type: 'button', onclick: () => openSequence(h.sequence) }, 'overlap over time')));
  })));
}
