// The score table: sortable, with intervals, ceiling and floor, and a forest plot of the metric in view.
const board = { key: null, down: true };

function boardColumns() {
  const own = D.metrics.filter((m) => range(D.trackers.length).some((t) => known(scoreOf(t, m.key, state.set))));
  const columns = own.map((m) => ({ key: m.key, label: m.short, title: m.description, m, value: (t) => scoreOf(t, m.key) }));
  if (D.trackers.some((t) => known(t.fps))) {
    columns.push({ key: 'fps', label: 'FPS', title: 'Frames per second, as the runs recorded them', value: (t) => D.trackers[t].fps });
  }
  return columns;
}

function boardOrder(columns) {
  const column = columns.find((c) => c.key === board.key);
  const rows = range(D.trackers.length);
  if (board.key === 'name') {
    rows.sort((a, b) => D.trackers[a].name.localeCompare(D.trackers[b].name));
    return board.down ? rows.reverse() : rows;
  }
  const value = (t) => { const v = column ? column.value(t) : null; return known(v) ? v : null; };
  return rows.sort((a, b) => {
    if (value(a) === null || value(b) === null) return (value(a) === null) - (value(b) === null) || a - b;
    return (board.down ? value(b) - value(a) : value(a) - value(b)) || a - b;
  });
}

function bounds(t, key = state.metric) {
  const both = D.table[key].interval && D.table[key].interval[state.set];
  return both && both[t] && known(both[t][0]) ? both[t] : null;
}

function forestScale() {
  const values = [D.table[state.metric].ceiling[state.set], D.table[state.metric].floor[state.set]];
  for (const t of range(D.trackers.length)) values.push(scoreOf(t), ...(bounds(t) || []));
  const real = values.filter(known);
  return [Math.min(...real, 0.999), Math.max(...real, 0)];
}

function forestCell(t, [low, high]) {
  const width = 190;
  const x = (v) => 6 + ((v - low) / (high - low || 1)) * (width - 12);
  const value = scoreOf(t);
  const root = svg('svg', { width, height: 22, class: look(t).class, 'aria-hidden': 'true' });
  for (const [key, dash] of [['floor', '2 3'], ['ceiling', '2 3']]) {
    const v = D.table[state.metric][key][state.set];
    if (known(v)) root.append(svg('line', { x1: x(v), x2: x(v), y1: 0, y2: 22, stroke: 'var(--muted)', 'stroke-dasharray': dash }));
  }
  if (!known(value)) return root;
  const both = state.intervals && bounds(t);
  if (both) root.append(svg('line', { x1: x(both[0]), x2: x(both[1]), y1: 11, y2: 11, stroke: 'var(--c)', 'stroke-width': 3, 'stroke-linecap': 'round', opacity: 0.5 }));
  root.append(svg('circle', { cx: x(value), cy: 11, r: 4.5, fill: 'var(--c)' }));
  return root;
}

function boardHead(columns) {
  const sort = (key, label, title) => {
    const active = board.key === key;
    return el('th', {
      scope: 'col', class: (key === 'name' ? 'name' : 'num') + (key === state.metric ? ' on' : ''), 'data-key': key,
      'aria-sort': active ? (board.down ? 'descending' : 'ascending') : 'none',
    }, el('button', { type: 'button', class: 'sort', title, onclick: () => {
      board.down = active ? !board.down : key !== 'name';
      board.key = key;
      if (D.metrics.some((m) => m.key === key) && key !== state.metric) change({ metric: key }); else drawBoard();
      $(`#leaderboard th[data-key="${key}"] button`).focus();
    } }, label));
  };
  const [low, high] = forestScale();
  return el('thead', {}, el('tr', {}, el('th', { class: 'num' }, '#'), sort('name', 'Tracker', 'Sort by name'),
    el('th', { class: 'forest', scope: 'col' }, `${metric().short}, ${fixed(low, 2)} to ${fixed(high, 2)}`),
    columns.map((c) => sort(c.key, c.label, c.title))));
}

function scoreCell(t, c, bestTwo) {
  const v = c.value(t);
  const both = state.intervals && c.m && bounds(t, c.key);
  const place = known(v) && D.trackers.length > 1 ? bestTwo.indexOf(v) : -1;
  return el('td', { class: 'num' + (place === 0 ? ' best' : place === 1 ? ' second' : '') },
    el('span', {}, fixed(v, c.m ? c.m.digits : 1)), both ? el('small', {}, `${fixed(both[0], c.m.digits)}–${fixed(both[1], c.m.digits)}`) : '');
}

/** Where the rank by success would lie for other sequences of the same kind. */
function rankRange(t) {
  const range = D.ranks[t];
  if (!state.intervals || state.set !== 0 || state.metric !== D.metrics[0].key || D.trackers.length < 2) return '';
  if (range.low === range.high) return '';
  return el('small', { title: `first in ${Math.round(100 * range.first)} % of the resamples` }, `${range.low}–${range.high}`);
}

function boardFoot(columns) {
  const row = (key, label, title) => el('tr', {}, el('td'), el('th', { class: 'name', scope: 'row', title }, label), el('td', { class: 'forest' }),
    columns.map((c) => el('td', { class: 'num' }, c.m ? fixed(D.table[c.key][key][state.set], c.m.digits) : '')));
  return el('tfoot', {}, row('ceiling', 'Ceiling', 'The ground-truth reference: what the ground truth, taken as a result, scores'), row('floor', 'Floor', 'The static-box reference: what the initial box, never moved, scores'));
}

function boardCsv() {
  const columns = boardColumns();
  const head = ['tracker', 'sequences', ...columns.flatMap((c) => (c.m ? [c.key, c.key + ' low', c.key + ' high'] : [c.key]))];
  return [head, ...boardOrder(columns).map((t) => [D.trackers[t].name, D.sets[state.set].label,
    ...columns.flatMap((c) => (c.m ? [c.value(t), ...(bounds(t, c.key) || [null, null])] : [c.value(t)]))])];
}

function drawBoard() {
  if (board.key === null || (board.key !== 'name' && board.key !== 'fps')) board.key = state.metric;
  const columns = boardColumns();
  const rank = new Map(ranked().map((t, i) => [t, i + 1]));
  const scale = forestScale();
  const best = new Map(columns.map((c) => [c.key, [...new Set(range(D.trackers.length).map(c.value).filter(known))].sort((a, b) => b - a).slice(0, 2)]));
  const rows = boardOrder(columns).map((t) => el('tr', { 'data-tracker': t },
    el('td', { class: 'num' }, rank.get(t), rankRange(t)),
    el('th', { class: 'name', scope: 'row' }, trackerToggle(t)),
    el('td', { class: 'forest' }, forestCell(t, scale)),
    columns.map((c) => scoreCell(t, c, best.get(c.key)))));
  $('#leaderboard .scroll').replaceChildren(el('table', { class: 'board' }, boardHead(columns), el('tbody', {}, rows), boardFoot(columns)));
}

/** Checkbox, line sample and name: shows and hides a tracker in every chart. */
function trackerToggle(t) {
  const name = D.trackers[t].name;
  return el('label', { class: 'who', title: short(name, 200) },
    el('input', { type: 'checkbox', checked: state.shown.has(t), 'data-show': t, 'aria-label': 'Show ' + short(name, 80), onchange: (event) => toggle(t, event.target.checked) }),
    swatch(t), el('span', { class: 't' }, short(name, 120)));
}

function toggle(t, wanted) {
  const shown = new Set(state.shown);
  if (wanted) shown.add(t); else shown.delete(t);
  change({ shown });
  for (const box of document.querySelectorAll(`input[data-show="${t}"]`)) box.checked = wanted;
}

function initBoard() {
  const all = (some) => () => { change({ shown: new Set(some()) }); for (const box of document.querySelectorAll('input[data-show]')) box.checked = state.shown.has(Number(box.dataset.show)); };
  const button = (label, some) => el('button', { type: 'button', class: 'plain', onclick: all(some) }, label);
  const few = D.trackers.length <= 5;
  const root = section('leaderboard', 'Leaderboard',
    `Scores with ${Math.round(D.confidence * 100)} % intervals over sequences (${D.interval}; for an attribute, of the metrics that have a curve). The ceiling (ground-truth reference) is the ground truth scored as a result, the floor (static-box reference) the initial box, never moved.${D.trackers.length > MANY ? ' The charts show the best ten; tick others to add them.' : ''}`,
    few ? '' : button('Show all', () => range(D.trackers.length)), few ? '' : button('Best 5', () => ranked().slice(0, 5)), few ? '' : button('None', () => []),
    csvButton('leaderboard.csv', boardCsv));
  root.append(el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Leaderboard' }), el('div', { class: 'runs' }));
  drawBoard();
  drawRuns();
  on(['metric', 'set', 'intervals'], drawBoard);
  on(['metric'], drawRuns);
}

/** Several runs of one tracker: mean and deviation. */
function drawRuns() {
  const runs = D.runs[state.metric];
  if (!runs.length) return;
  const digits = metric().digits;
  $('#leaderboard .runs').replaceChildren(el('h3', {}, `Runs of one tracker: ${metric().label}`),
    el('div', { class: 'scroll fit' }, el('table', {}, el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Tracker'), ['Runs', 'Mean', 'Deviation', 'Lowest', 'Highest'].map((h) => el('th', { class: 'num', scope: 'col' }, h)))),
      el('tbody', {}, runs.map((r) => el('tr', {}, el('th', { scope: 'row', class: 'cut' }, short(r.name, 80)), el('td', { class: 'num' }, r.members.length),
        [r.mean, r.deviation, r.low, r.high].map((v) => el('td', { class: 'num' }, fixed(v, digits)))))))));
}
