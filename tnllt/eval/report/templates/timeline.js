// Overlap over time of one sequence: unpacked once, drawn on a canvas, every pixel column showing its lowest and highest value.
let packed = null;
const view = { from: 0, to: 1, cursor: null };

async function unpackOverlaps() {
  if (!D.overlaps) return;
  packed = new Uint8Array(await inflate(D.overlaps.data));
}

/** Overlaps of one tracker on one sequence: Float32Array, NaN where the protocol counts no overlap. */
function overlapsOf(sequence, tracker) {
  const { start, points } = D.overlaps.index[sequence];
  const values = new Float32Array(points);
  let code = 0;
  const base = start + tracker * points;
  for (let i = 0; i < points; i++) {
    code = (code + packed[base + i]) & 255;
    values[i] = code === 255 ? NaN : code / D.overlaps.levels;
  }
  return values;
}
const stride = () => (D.overlaps ? D.overlaps.index[state.sequence].stride : 1);
const frames = () => D.sequences[state.sequence].frames;
let cache = { sequence: -1, series: new Map() };
function series(t) {
  if (cache.sequence !== state.sequence) cache = { sequence: state.sequence, series: new Map() };
  if (!cache.series.has(t)) cache.series.set(t, overlapsOf(state.sequence, t));
  return cache.series.get(t);
}

function stageFrame() {
  const canvas = $('#stage');
  const pad = { left: 40, right: 8, top: 18, bottom: 26 };
  const [w, h] = [canvas.clientWidth, canvas.clientHeight];
  const x = (frame) => pad.left + ((frame / frames() - view.from) / (view.to - view.from)) * (w - pad.left - pad.right);
  const frameAt = (px) => clip(Math.floor(((px - pad.left) / (w - pad.left - pad.right) * (view.to - view.from) + view.from) * frames()), 0, frames() - 1);
  const y = (v) => h - pad.bottom - v * (h - pad.top - pad.bottom);
  return { canvas, pad, w, h, x, y, frameAt };
}

function drawBackdrop(g, { pad, w, h, x, y }) {
  g.fillStyle = cssVar('--shade');
  for (const [from, to] of D.sequences[state.sequence].absent) {
    const left = Math.max(pad.left, x(from));
    g.fillRect(left, pad.top, Math.max(1, Math.min(w - pad.right, x(to)) - left), h - pad.top - pad.bottom);
  }
  g.strokeStyle = cssVar('--grid'); g.fillStyle = cssVar('--muted'); g.font = '12px ' + getComputedStyle(document.body).fontFamily; g.lineWidth = 1;
  for (const v of [0, 0.25, 0.5, 0.75, 1]) {
    g.beginPath(); g.moveTo(pad.left, y(v)); g.lineTo(w - pad.right, y(v)); g.stroke();
    g.textAlign = 'right'; g.fillText(neat(v), pad.left - 7, y(v) + 4);
  }
  g.textAlign = 'center';
  for (const f of ticks(view.from * frames(), view.to * frames() - 1, w < 500 ? 4 : 8)) g.fillText(count(Math.round(f) + 1), clip(x(f), pad.left + 8, w - 24), h - 8);
}

function drawSeries(g, t, { pad, w, x, y }) {
  const values = series(t);
  const step = stride();
  g.strokeStyle = paint(t); g.lineWidth = state.focus === t ? 2.4 : 1.3;
  g.globalAlpha = state.focus !== null && state.focus !== t ? 0.18 : 0.9;
  g.setLineDash(look(t).dash ? look(t).dash.split(' ').map(Number) : []);
  const first = Math.max(0, Math.floor((view.from * frames()) / step));
  const last = Math.min(values.length, Math.ceil((view.to * frames()) / step) + 1);
  const dense = (last - first) / (w - pad.left - pad.right) > 2;
  g.beginPath();
  let column = -1, low = 2, high = -1, open = false;
  const flush = () => { if (high >= 0) { if (open) g.lineTo(column, y(high)); else g.moveTo(column, y(high)); g.lineTo(column, y(low)); open = true; } low = 2; high = -1; };
  for (let i = first; i < last; i++) {
    const v = values[i];
    if (Number.isNaN(v)) { if (dense) flush(); open = false; continue; }
    const px = x((i + 0.5) * step);
    if (!dense) { if (open) g.lineTo(px, y(v)); else g.moveTo(px, y(v)); open = true; continue; }
    if (Math.round(px) !== column) { flush(); column = Math.round(px); }
    low = Math.min(low, v); high = Math.max(high, v);
  }
  if (dense) flush();
  g.stroke();
  g.setLineDash([]); g.globalAlpha = 1;
}

function drawChanges(g, { pad, x, w }) {
  for (const answer of D.sequences[state.sequence].answers) {
    if (!state.shown.has(answer.tracker) || !answer.changed) continue;
    const px = x(answer.frame - 1);
    if (px < pad.left || px > w - pad.right) continue;
    g.fillStyle = paint(answer.tracker);
    g.beginPath(); g.moveTo(px - 5, 4); g.lineTo(px + 5, 4); g.lineTo(px, 13); g.fill();
  }
}

function drawStage() {
  if (!packed) return;
  const at = stageFrame();
  const scale = devicePixelRatio || 1;
  at.canvas.width = at.w * scale; at.canvas.height = at.h * scale;
  const g = at.canvas.getContext('2d');
  g.scale(scale, scale);
  drawBackdrop(g, at);
  g.save(); g.beginPath(); g.rect(at.pad.left, 0, at.w - at.pad.left - at.pad.right, at.h); g.clip();
  for (const t of ranked().reverse()) if (state.shown.has(t)) drawSeries(g, t, at);
  g.restore();
  drawChanges(g, at);
  if (view.cursor !== null) { g.strokeStyle = cssVar('--ink'); g.beginPath(); g.moveTo(at.x(view.cursor), at.pad.top); g.lineTo(at.x(view.cursor), at.h - at.pad.bottom); g.stroke(); }
}

function drawReadout() {
  const cursor = view.cursor;
  const rows = ranked().map((t) => [t, packed && cursor !== null ? series(t)[Math.floor(cursor / stride())] : perSequence(t, state.sequence, D.metrics[0].key)]);
  $('#timeline .legend').replaceChildren(...rows.map(([t, v]) => el('li', {}, el('label', { class: 'key' + (state.shown.has(t) ? '' : ' off'),
    onpointerenter: () => change({ focus: t }), onpointerleave: () => change({ focus: null }) },
    el('input', { type: 'checkbox', checked: state.shown.has(t), 'data-show': t, onchange: (event) => toggle(t, event.target.checked) }),
    swatch(t), el('span', { class: 'v' }, fixed(v, 2)), el('span', { class: 't', title: short(D.trackers[t].name, 200) }, short(D.trackers[t].name, 60))))));
  $('#seek').value = cursor === null ? 0 : cursor;
  $('#seek').setAttribute('aria-valuetext', `frame ${(cursor || 0) + 1} of ${frames()}`);
  drawPicture();
  $('#timeline .where').textContent = cursor === null ? `${count(frames())} frames` : `frame ${count(cursor + 1)}`;
}
/** The frame that was kept nearest to the cursor; at first the one of lowest overlap. */
function drawPicture() {
  const kept = D.sequences[state.sequence].pictures;
  $('#timeline figure').hidden = !kept.length;
  if (!kept.length) return;
  const far = (p) => (view.cursor === null ? (known(p.overlap) ? p.overlap : 2) : Math.abs(p.frame - 1 - view.cursor));
  const best = kept.reduce((a, b) => (far(b) < far(a) ? b : a));
  const image = $('#timeline figure img');
  if (image.dataset.frame !== `${state.sequence}:${best.frame}`) Object.assign(image, { src: best.src, alt: `Frame ${best.frame}` }).dataset.frame = `${state.sequence}:${best.frame}`;
  const said = D.sequences[state.sequence].answers.filter((a) => state.shown.has(a.tracker) && a.frame <= best.frame);
  const latest = ranked().map((t) => said.filter((a) => a.tracker === t).pop()).filter(Boolean);
  $('#timeline figcaption').replaceChildren(`Frame ${count(best.frame)}, the nearest of ${kept.length} kept; boxes: ground truth (white), best trackers`,
    ...latest.map((a) => el('div', {}, `${short(D.trackers[a.tracker].name, 60)}: `, el('bdi', {}, a.description))));
}
let queued = false;
function moveCursor(frame) {
  view.cursor = frame;
  if (!queued) { queued = true; requestAnimationFrame(() => { queued = false; drawStage(); drawReadout(); }); }
}

function zoom(factor, centre = (view.from + view.to) / 2) {
  const span = clip((view.to - view.from) * factor, Math.min(1, 40 / frames()), 1);
  view.from = clip(centre - (centre - view.from) * (span / (view.to - view.from)), 0, 1 - span);
  view.to = view.from + span;
  drawStage();
}

function openTimeline() {
  const s = D.sequences[state.sequence];
  Object.assign(view, { from: 0, to: 1, cursor: null });
  $('#pick').value = state.sequence;
  $('#seek').max = s.frames - 1;
  $('#timeline .quote').hidden = !s.language;
  $('#timeline .quote').textContent = s.language || '';
  const step = stride();
  $('#timeline .fine').textContent = 'Shaded: target out of view. Left out: frames whose overlap the protocol does not measure.' + (step > 1 ? ` Each point is the mean of ${step} frames, to keep this file small.` : '');
  $('#timeline .changes').replaceChildren(...s.answers.map((c) => el('li', {},
    el('button', { class: 'link', type: 'button', onclick: () => moveCursor(c.frame - 1) }, `Frame ${count(c.frame)}`), ` ${short(D.trackers[c.tracker].name, 60)}${c.decision && `, ${c.decision}`}: `,
    el('bdi', {}, c.description), c.think ? el('span', { class: 'thought', dir: 'auto' }, c.think) : '')));
  drawStage();
  drawReadout();
}

function stageEvents() {
  const canvas = $('#stage');
  let drag = null;
  canvas.addEventListener('pointerdown', (event) => { drag = { x: event.clientX, from: view.from, to: view.to }; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener('pointerup', () => { drag = null; });
  canvas.addEventListener('pointermove', (event) => {
    const at = stageFrame();
    if (drag && view.to - view.from < 1) {
      const shift = clip(((drag.x - event.clientX) / at.w) * (drag.to - drag.from), -drag.from, 1 - drag.to);
      Object.assign(view, { from: drag.from + shift, to: drag.to + shift });
    }
    moveCursor(at.frameAt(event.clientX - canvas.getBoundingClientRect().left));
  });
  canvas.addEventListener('pointerleave', () => { if (!drag) moveCursor(null); });
  canvas.addEventListener('wheel', (event) => {
    if (!event.ctrlKey && !event.shiftKey) return; // a plain wheel scrolls the page
    event.preventDefault();
    const at = stageFrame();
    const centre = clip((event.clientX - canvas.getBoundingClientRect().left - at.pad.left) / (at.w - at.pad.left - at.pad.right), 0, 1);
    zoom((event.deltaY || event.deltaX) > 0 ? 1.25 : 0.8, view.from + centre * (view.to - view.from));
  }, { passive: false });
  canvas.addEventListener('keydown', (event) => {
    const jump = { ArrowLeft: -1, ArrowRight: 1, PageUp: -100, PageDown: 100 }[event.key];
    if (jump) { moveCursor(clip((view.cursor || 0) + jump, 0, frames() - 1)); event.preventDefault(); }
    if (event.key === '+' || event.key === '=') zoom(0.7, view.cursor === null ? undefined : view.cursor / frames());
    if (event.key === '-') zoom(1.4);
    if (event.key === '0') zoom(10);
  });
}

async function initTimeline() {
  const button = (label, name, act) => el('button', { type: 'button', class: 'plain', 'aria-label': name, onclick: act }, label);
  const pick = el('select', { id: 'pick', 'aria-label': 'Sequence', onchange: (event) => change({ sequence: Number(event.target.value) }) },
    range(D.sequences.length).sort((a, b) => D.sequences[a].name.localeCompare(D.sequences[b].name, 'en', { numeric: true })).map((s) => el('option', { value: s }, short(D.sequences[s].name, 60))));
  const root = section('timeline', 'Overlap over time', '', pick, button('−', 'Zoom out', () => zoom(1.5)), button('+', 'Zoom in', () => zoom(0.6)), button('Whole', 'Show the whole sequence', () => zoom(10)));
  if (!D.overlaps) { root.append(el('p', { class: 'note' }, 'Made without overlaps per frame.')); pick.hidden = true; return; }
  root.append(el('p', { class: 'quote', dir: 'auto' }),
    el('div', { class: 'split' }, el('div', {},
      el('canvas', { id: 'stage', tabindex: 0, role: 'img', 'aria-label': 'Overlap of each tracker over the frames; arrow keys move, plus and minus zoom' }),
      el('div', { class: 'seekrow' }, el('input', { id: 'seek', type: 'range', min: 0, value: 0, 'aria-label': 'Frame', oninput: (event) => moveCursor(Number(event.target.value)) }), el('span', { class: 'where' })),
      el('p', { class: 'sub fine' }), el('ul', { class: 'changes' })),
      el('div', {}, el('figure', { class: 'frame' }, el('img', { alt: '' }), el('figcaption', { class: 'sub' })), el('ul', { class: 'legend' }))));
  stageEvents();
  try { await unpackOverlaps(); } catch (error) { root.append(el('p', { class: 'note' }, String(error.message || error))); return; }
  state.sequence = D.hardest.length ? D.hardest[0].sequence : 0;
  openTimeline();
  responsive($('#stage'), drawStage);
  on(['sequence'], openTimeline);
  on(['shown', 'focus', 'theme'], drawStage);
  on(['shown', 'metric'], drawReadout);
  document.documentElement.dataset.ready = 'yes';
}
