// What every page shares: building of elements, number formats, tooltips, downloads, the theme.
// Text from files reaches the page through text nodes and attributes only, never as markup.
// Control and direction-changing characters are shown as what they are: a name must not read as another one.
const visible = (text) => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
  (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
const parse = (id) => JSON.parse(document.getElementById(id).textContent, (key, value) => (typeof value === 'string' ? visible(value) : value));
/** The bytes that were deflated and written as base64. */
async function inflate(text) {
  if (typeof DecompressionStream === 'undefined') throw new Error('this browser cannot inflate the numbers (DecompressionStream is missing)');
  const stream = new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Response(stream).arrayBuffer();
}
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

// ---- line styles: a page states its trackers' looks {colour, bright, dash}, as tnllt.eval.style gives them
const LOOKS = [];
function setLooks(looks) {
  LOOKS.push(...looks);
  const vars = (key) => '{' + LOOKS.map((l, i) => `--l${i}:${l[key]};`).join('') + '}';
  const dark = vars('bright');
  document.head.append(el('style', {}, `:root${vars('colour')} :root[data-theme="dark"]${dark}
    @media (prefers-color-scheme: dark){:root:not([data-theme="light"])${dark}}` + LOOKS.map((_, i) => `.l${i}{--c:var(--l${i})}`).join('')));
}
const look = (t) => (LOOKS[t] ? { class: 'l' + t, dash: LOOKS[t].dash.map((n) => n * 2).join(' ') } : { class: 'c' + (t % 7), dash: '' });
const cssVar = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const swatchOf = ({ class: hue, dash }) =>
  svg('svg', { width: 24, height: 10, class: hue, 'aria-hidden': 'true' },
    svg('line', { x1: 1, x2: 23, y1: 5, y2: 5, stroke: 'var(--c)', 'stroke-width': 3, 'stroke-dasharray': dash }));

// cividis: even steps in lightness, the same for every kind of colour vision
const RAMP = ['00224e', '123570', '3b496c', '575d6d', '707173', '8a8678', 'a59c74', 'c3b369', 'e1cc55', 'fee838']
  .map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
function ramp(x) {
  const at = clip(x, 0, 1) * (RAMP.length - 1);
  const low = Math.min(RAMP.length - 2, Math.floor(at));
  const rgb = RAMP[low].map((c, i) => Math.round(c + (RAMP[low + 1][i] - c) * (at - low)));
  // Black or white, whichever stands out more (WCAG's relative luminance).
  const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return { back: `rgb(${rgb.join(' ')})`, front: 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? '#000' : '#fff' };
}

// Tables wider than their frame fade out on the side where more is to be seen.
function markMore() {
  for (const node of document.querySelectorAll('.scroll')) node.classList.toggle('more', node.scrollWidth - node.clientWidth - node.scrollLeft > 4);
}
addEventListener('scroll', markMore, { capture: true, passive: true });
addEventListener('resize', markMore);

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

// ---- theme: automatic, light or dark; a browser that keeps nothing for this page begins with automatic
const THEMES = ['auto', 'light', 'dark'];
function initTheme(changed = () => {}) {
  const kept = (value) => { try { return value ? localStorage.setItem('theme', value) : localStorage.getItem('theme'); } catch { return null; } };
  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    $('#theme').textContent = 'Theme: ' + theme;
    changed(theme);
  };
  if (THEMES.includes(kept())) show(kept());
  $('#theme').addEventListener('click', () => {
    show(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme || 'auto') + 1) % 3]);
    kept(document.documentElement.dataset.theme);
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => changed());
  addEventListener('keydown', (event) => { if (event.key === 'Escape') hideTip(); });
  addEventListener('scroll', hideTip, { passive: true });
}
