// The board's pages: the table is there without this; here it sorts and filters, and charts are drawn.
const data = document.getElementById('board') ? parse('board') : null;
const wanted = new URLSearchParams(location.hash.slice(1));
function keep(name, value) {
  if (value) wanted.set(name, value); else wanted.delete(name);
  history.replaceState(null, '', '#' + wanted);
}
const styled = (t) => ({ class: 's' + data.trackers[t].look, dash: data.trackers[t].dash });
const nameOf = (t) => data.trackers[t].name;

function drawCurves(shown) {
  const root = $('#curves');
  root.hidden = !shown.length;
  if (!shown.length) return;
  lineChart($('.plot', root), { thresholds: data.thresholds, xLabel: 'Overlap threshold', yLabel: 'Fraction of frames', mark: null,
    label: `Success of ${shown.length} trackers`, curves: shown.map((t) => ({ tracker: t, name: nameOf(t), look: styled(t), values: data.trackers[t].curve })) });
  $('.legend', root).replaceChildren(...shown.map((t) => el('li', { class: 'key' }, swatchOf(styled(t)), el('span', { class: 'v' }, fixed(data.trackers[t].score)), el('span', { class: 't' }, short(nameOf(t), 60)))));
}

// ---- leaderboard
const TABLE = $('table.sortable');
const rowsOf = () => [...TABLE.tBodies[0].rows].filter((row) => row.dataset.name !== undefined);
function filterRows() {
  const text = $('#find').value.toLowerCase();
  for (const row of rowsOf()) {
    const { mode, level, name } = row.dataset;
    row.hidden = Boolean(($('#mode').value && mode !== $('#mode').value) || ($('#level').value && level !== $('#level').value) || !name.toLowerCase().includes(text));
  }
  drawBest();
}
function drawBest() {
  const there = new Map(data.trackers.map((t, i) => [t.slug, i]));
  const shown = rowsOf().filter((row) => !row.hidden && there.has(row.dataset.slug)).slice(0, 10).map((row) => there.get(row.dataset.slug));
  drawCurves(shown);
  const root = $('#attributes');
  root.hidden = !data.attributes.length || !shown.length;
  if (root.hidden) return;
  const values = shown.flatMap((t) => data.trackers[t].attributes).filter(known);
  $('.scroll', root).replaceChildren(heatTable({
    caption: 'Success per attribute and tracker', corner: 'Attribute', low: Math.min(...values), high: Math.max(...values),
    rows: data.attributes.map((a, i) => ({ id: i, name: a.label, note: a.count })), columns: shown.map((t) => ({ id: t, name: nameOf(t) })),
    value: (a, t) => data.trackers[t].attributes[a], pick: (row, column) => { location.href = data.root + 'trackers/' + data.trackers[column.id].slug + '.html'; },
  }));
}
function sortRows(key, down) {
  const head = [...TABLE.tHead.rows[0].cells];
  const at = head.findIndex((cell) => cell.dataset.key === key);
  if (at < 0) return;
  const value = (row) => (key === 'name' ? row.dataset.name.toLowerCase() : row.cells[at].dataset.v === undefined ? null : Number(row.cells[at].dataset.v));
  const compare = (a, b) => (key === 'name' ? value(a).localeCompare(value(b)) : value(a) - value(b)) * (down ? -1 : 1);
  TABLE.tBodies[0].append(...rowsOf().sort((a, b) => (value(a) === null) - (value(b) === null) || (value(a) === null ? 0 : compare(a, b))));
  for (const cell of head) if (cell.dataset.key) cell.setAttribute('aria-sort', cell.dataset.key === key ? (down ? 'descending' : 'ascending') : 'none');
  keep('sort', key === 'rank' && !down ? '' : (down ? '-' : '') + key);
  drawBest();
}
function initTable() {
  for (const cell of TABLE.tHead.rows[0].cells) {
    const key = cell.dataset.key;
    if (!key) continue;
    const upward = ['rank', 'group', 'name'].includes(key);
    cell.replaceChildren(el('button', { type: 'button', class: 'sort', onclick: () => {
      const now = cell.getAttribute('aria-sort');
      sortRows(key, now === 'none' || !now ? !upward : now === 'ascending');
    } }, cell.textContent));
  }
  for (const id of ['mode', 'level', 'find']) {
    const control = document.getElementById(id);
    control.value = wanted.get(id) || '';
    control.addEventListener('input', () => { keep(id, control.value); filterRows(); });
  }
  for (const link of document.querySelectorAll('.protocols a')) link.addEventListener('click', () => { link.hash = String(wanted); });
  filterRows();
  const sort = wanted.get('sort') || 'rank';
  sortRows(sort.replace('-', ''), sort.startsWith('-'));
}

// ---- two trackers
function drawPair() {
  const [a, b] = ['a', 'b'].map((id) => Number(document.getElementById(id).value));
  const both = data.sequences.map((name, s) => ({ name, a: data.trackers[a].sequences[s], b: data.trackers[b].sequences[s] })).filter((v) => known(v.a) && known(v.b));
  const node = $('#pair .plot');
  const width = Math.max(280, Math.min(560, node.clientWidth));
  const { root, x, y } = axes({ width, height: width * 0.9, xs: [0, 1], ys: [0, 1], label: `${nameOf(a)} against ${nameOf(b)} on ${both.length} sequences`, xLabel: short(nameOf(a), 40), yLabel: short(nameOf(b), 40) });
  root.append(svg('line', { class: 'axis', x1: x(0), y1: y(0), x2: x(1), y2: y(1), 'stroke-dasharray': '4 4' }),
    ...both.map((v) => svg('circle', { class: 'mark ' + styled(v.a >= v.b ? a : b).class, cx: x(v.a), cy: y(v.b), r: 4, fill: 'var(--c)', 'fill-opacity': 0.65, ...tipped(`${short(v.name, 60)}\n${fixed(v.a)} against ${fixed(v.b)}`) })));
  node.replaceChildren(root);
  const found = data.pairs[a < b ? `${a}-${b}` : `${b}-${a}`];
  const [low, high] = found ? (a < b ? [found.low, found.high] : [-found.high, -found.low]) : [];
  $('#pair .verdict').textContent = `${nameOf(a)} is higher on ${both.filter((v) => v.a > v.b).length} and lower on ${both.filter((v) => v.a < v.b).length} of ${both.length} sequences; difference ${signed(data.trackers[a].score - data.trackers[b].score)}`
    + (found ? ` (95 % interval ${signed(low)} to ${signed(high)}; permutation test p = ${found.p.toPrecision(2)}, ${found.holm.toPrecision(2)} after Holm over all pairs).` : '; intervals are here for the best trackers, others: tnllt-eval compare.');
  const gaps = both.filter((v) => v.a !== v.b).sort((p, q) => q.a - q.b - (p.a - p.b));
  const list = (title, some) => [el('h3', {}, title), el('ol', { class: 'legend' }, some.map((v) => el('li', { class: 'key' }, el('span', { class: 'v' }, signed(v.a - v.b)), el('span', { class: 't' }, short(v.name, 60)))))];
  $('#pair .gaps').replaceChildren(...list(`${short(nameOf(a), 30)} ahead`, gaps.filter((v) => v.a > v.b).slice(0, 7)), ...list(`${short(nameOf(b), 30)} ahead`, gaps.filter((v) => v.a < v.b).reverse().slice(0, 7)));
  drawCurves([a, b]);
}
function initPair() {
  if (data.trackers.length < 2) { $('#pair .verdict').textContent = 'Two trackers with boxes are needed.'; return; }
  ['a', 'b'].forEach((id, side) => {
    const control = document.getElementById(id);
    const chosen = Math.max(data.trackers.findIndex((t) => t.slug === wanted.get(id)), -1);
    control.append(...data.trackers.map((t, i) => el('option', { value: i }, short(t.name, 60))));
    control.value = chosen >= 0 ? chosen : side;
    control.addEventListener('input', () => { keep(id, data.trackers[Number(control.value)].slug); drawPair(); });
  });
  if ($('#a').value === $('#b').value) $('#b').value = $('#a').value === '0' ? 1 : 0;
  responsive($('#pair .plot'), drawPair);
  drawPair();
}

initTheme();
if (TABLE) initTable();
else if ($('#pair')) initPair();
else if (data) { drawCurves(data.trackers.map((t, i) => i)); responsive($('#curves .plot'), () => drawCurves(data.trackers.map((t, i) => i))); }
document.documentElement.dataset.ready = 'yes';
