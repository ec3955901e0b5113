// The report's data, and what the reader has chosen to see.
const D = parse('data');
setLooks(D.trackers);

// ---- state: one object, one function that changes it, and listeners that draw what depends on it
const state = {
  metric: D.metrics[0].key,
  set: 0,
  intervals: true,
  shown: new Set(range(D.trackers.length)),
  focus: null,
  sequence: 0,
  pair: [0, Math.min(1, D.trackers.length - 1)],
};
const listeners = [];
function on(keys, draw) { listeners.push({ keys, draw }); }
function change(patch) {
  Object.assign(state, patch);
  for (const { keys, draw } of listeners) if (keys.some((key) => key in patch)) draw();
}
const metric = () => D.metrics.find((m) => m.key === state.metric);
const scoreOf = (tracker, key = state.metric, set = state.set) => D.table[key].score[set][tracker];
// Scores per sequence stand in the document of scores.json alone; its names are the raw ones, and so are these keys.
const PER_SEQUENCE = new Map();
async function readScores() {
  let found = JSON.parse(document.getElementById('scores').textContent);
  if (found.deflate) found = JSON.parse(new TextDecoder().decode(await inflate(found.deflate)));
  for (const m of D.metrics) PER_SEQUENCE.set(m.key, found.trackers.map((t) => found.sequences.map((s) => found.per_sequence[t][m.key][s])));
}
const perSequence = (tracker, sequence, key = state.metric) => PER_SEQUENCE.get(key)[tracker][sequence];
function ranked(key = state.metric, set = state.set) {
  const rows = range(D.trackers.length);
  const value = (t) => (known(scoreOf(t, key, set)) ? scoreOf(t, key, set) : -Infinity);
  return rows.sort((a, b) => value(b) - value(a) || a - b);
}
// The charts of many trackers begin with the best ten; the others are a tick away.
const MANY = 25;
if (D.trackers.length > MANY) state.shown = new Set(ranked().slice(0, 10));
const inSet = (set = state.set) => range(D.sequences.length).filter((s) => set === 0 || D.sequences[s].sets.includes(set));
const paint = (t) => getComputedStyle(document.documentElement).getPropertyValue('--l' + t).trim();
const swatch = (t) => swatchOf(look(t));

// ---- sections
function section(id, title, sub, ...actions) {
  const root = document.getElementById(id);
  root.replaceChildren(
    el('div', { class: 'head' }, el('h2', { id: 'h-' + id }, title), el('div', { class: 'actions' }, actions)),
    sub ? el('p', { class: 'sub' }, sub) : '');
  return root;
}
