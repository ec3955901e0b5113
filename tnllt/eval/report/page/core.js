// What every part of the page shares: the data, the state, building of elements, tooltips, downloads.
// Text from files reaches the page through text nodes and attributes only, never as markup.
// Control and direction-changing characters are shown as what they are: a name must not read as another one.
const visible = (text) => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
  (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
const D = JSON.parse(document.getElementById('data').textContent, (key, value) => (typeof value === 'string' ? visible(value) : value));
const $ = (selector, root = document) => root.querySelector(selector);
const reduced = matchMedia('(prefers-reduced-motion: reduce)');

function build(make, tag, attributes, children) {
  const node = make(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (key === 'style') Object.assign(node.style, value);
    else node.setAttribute(key, value === true ? '' : String(value));
  }
  for (const child of children.flat(2)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}
const el = (tag, attributes, ...children) => build((t) => document.createElement(t), tag, attributes, children);
const svg = (tag, attributes, ...children) =>
  build((t) => document.createElementNS('http://www.w3.org/2000/svg', t), tag, attributes, children);

const range = (n) => Array.from({ length: n }, (_, i) => i);
const known = (x) => typeof x === 'number' && Number.isFinite(x);
const clip = (x, low, high) => Math.min(high, Math.max(low, x));
const fixed = (x, digits = 3) => (known(x) ? x.toFixed(digits) : '–');
const signed = (x, digits = 3) => (known(x) ? (x < 0 ? '−' : '+') + Math.abs(x).toFixed(digits) : '–');
const count = (n) => n.toLocaleString('en');
const short = (text, n = 60) => (text.length > n ? text.slice(0, n - 1) + '…' : text);

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
const S = JSON.parse(document.getElementById('scores').textContent);
const PER_SEQUENCE = new Map(D.metrics.map((m) => [m.key, S.trackers.map((t) => S.sequences.map((s) => S.per_sequence[t][m.key][s]))]));
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

// ---- line styles: seven hues that colour-blind readers can distinguish, times dash patterns
const DASHES = ['', '7 3', '2 3', '10 3 2 3', '4 2'];
const look = (t) => ({ class: 'c' + (t % 7), dash: DASHES[Math.floor(t / 7) % DASHES.length] });
const paint = (t) => getComputedStyle(document.documentElement).getPropertyValue('--c' + (t % 7)).trim();
const cssVar = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const swatch = (t) =>
  svg('svg', { width: 24, height: 10, class: look(t).class, 'aria-hidden': 'true' },
    svg('line', { x1: 1, x2: 23, y1: 5, y2: 5, stroke: 'var(--c)', 'stroke-width': 3, 'stroke-dasharray': look(t).dash }));

// cividis: even steps in lightness, the same for every kind of colour vision
const RAMP = ['00224e', '123570', '3b496c', '575d6d', '707173', '8a8678', 'a59c74', 'c3b369', 'e1cc55', 'fee838']
  .map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
function ramp(x) {
  const at = clip(x, 0, 1) * (RAMP.length - 1);
  const low = Math.min(RAMP.length - 2, Math.floor(at));
  const rgb = RAMP[low].map((c, i) => Math.round(c + (RAMP[low + 1][i] - c) * (at - low)));
  return { back: `rgb(${rgb.join(' ')})`, front: at > 5 ? '#000' : '#fff' };
}

// ---- tooltip
const tip = $('#tip');
function showTip(text, x, y) {
  tip.textContent = text;
  tip.classList.add('on');
  const box = tip.getBoundingClientRect();
  tip.style.left = clip(x + 14, 4, innerWidth - box.width - 4) + 'px';
  tip.style.top = (y + 18 + box.height > innerHeight ? y - box.height - 10 : y + 18) + 'px';
}
const hideTip = () => tip.classList.remove('on');
const tipped = (text) => ({
  onpointermove: (event) => showTip(typeof text === 'function' ? text() : text, event.clientX, event.clientY),
  onpointerleave: hideTip,
});

// ---- sections
function section(id, title, sub, ...actions) {
  const root = document.getElementById(id);
  root.replaceChildren(
    el('div', { class: 'head' }, el('h2', { id: 'h-' + id }, title), el('div', { class: 'actions' }, actions)),
    sub ? el('p', { class: 'sub' }, sub) : '');
  return root;
}

// ---- CSV: a cell that a spreadsheet would run as a formula gets an apostrophe in front, also behind blanks and invisible marks
function cell(value) {
  let text = value === null || value === undefined ? '' : String(value);
  if (typeof value !== 'number' && /^[\s\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]/.test(text)) text = "'" + text;
  return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}
const toCsv = (rows) => rows.map((row) => row.map(cell).join(',')).join('\r\n') + '\r\n';
function download(name, rows) {
  const link = el('a', { href: URL.createObjectURL(new Blob(['\ufeff' + toCsv(rows)], { type: 'text/csv' })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
const csvButton = (name, rows) => el('button', { type: 'button', class: 'plain', 'data-csv': name, onclick: () => download(name, rows()) }, 'CSV');

// Charts are drawn for the width they have, and again when that changes.
function responsive(node, draw) {
  let last = 0;
  new ResizeObserver(() => {
    const width = Math.round(node.clientWidth);
    if (width && width !== last) { last = width; draw(); }
  }).observe(node);
}
