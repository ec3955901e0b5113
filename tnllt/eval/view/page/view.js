'use strict';
// The player. Names and descriptions reach the page as text nodes only. Frames are fetched ahead while playing; while
// scrubbing, at most two requests are under way and the newest position wins.
const $ = (id) => document.getElementById(id);
const AHEAD = 12, KEPT = 60;
let scene = null, index = null, place = 0, frame = 0, playing = false, drawn = '';
const hidden = new Set(); // names of trackers that are not shown, whatever the sequence
const shown = new Set(['truth']);

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}
function floats(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}
// Control and direction-changing characters are shown as what they are: a name must not read as another one.
const visible = (text) => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
  (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
const colour = (i) => scene.trackers[i].colour;
const dash = (i) => scene.trackers[i].dash.map((n) => n * 2.2);
const active = () => scene.trackers.map((t, i) => i).filter((i) => shown.has(i));

// ---- frames
const held = new Map();
const waiting = new Map();
const address = (f) => `${place}/frame/${f}.jpg`;
async function load(key) {
  if (held.has(key)) { const bitmap = held.get(key); held.delete(key); held.set(key, bitmap); return bitmap; }
  if (!waiting.has(key)) {
    waiting.set(key, (async () => {
      const answer = await fetch(key);
      if (!answer.ok) throw new Error(await answer.text());
      const bitmap = await createImageBitmap(await answer.blob());
      held.set(key, bitmap);
      while (held.size > KEPT) { const [old, gone] = held.entries().next().value; held.delete(old); gone.close(); }
      return bitmap;
    })().finally(() => waiting.delete(key)));
  }
  return waiting.get(key);
}
function notice(text) { $('notice').textContent = text; $('notice').hidden = !text; }

async function show() {
  readout();
  if (frame >= scene.images) { paint(null); notice(scene.has_frames ? 'This frame has no image.' : 'Boxes alone: the images are not here (give --root).'); return; }
  if (!held.has(address(frame)) && waiting.size >= 2 && !playing) return; // whoever finishes next takes the newest position
  const mine = address(frame);
  try {
    const bitmap = await load(mine);
    notice('');
    if (mine === address(frame)) paint(bitmap);
    else if (!playing) show();
  } catch (error) {
    if (mine === address(frame)) { paint(null); notice(String(error.message || error)); }
  }
  if (playing) for (let i = 1; i <= AHEAD; i++) if (frame + i < scene.images) load(address(frame + i)).catch(() => {});
}

function paint(bitmap) {
  const canvas = $('image');
  // As many pixels as the screen has for it, at most four to one of the image: boxes stay crisp on small videos.
  const shownAt = Math.min(canvas.clientWidth / scene.width, Math.max(canvas.clientHeight, 60) / scene.height) || 1;
  const fit = Math.min(4, Math.max(1, shownAt * (devicePixelRatio || 1)));
  const [w, h] = [Math.round(scene.width * fit), Math.round(scene.height * fit)];
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
  const g = canvas.getContext('2d');
  g.setTransform(fit, 0, 0, fit, 0, 0);
  g.clearRect(0, 0, scene.width, scene.height);
  if (bitmap) g.drawImage(bitmap, 0, 0, scene.width, scene.height);
  const unit = 1 / shownAt; // lines keep their width on the screen, whatever the image's size
  for (const i of active()) outline(g, scene.trackers[i].boxes, colour(i), 2.2 * unit, dash(i).map((d) => d * unit));
  if (shown.has('truth')) outline(g, scene.truth, '#ffffff', 2.2 * unit, [7 * unit, 4 * unit]);
  drawn = address(frame);
  document.documentElement.dataset.frame = frame;
}
/** The frame in view once more; one that is still on its way paints itself when it comes. */
function repaint() { if (held.has(address(frame)) || frame >= scene.images) paint(held.get(address(frame)) || null); }
function outline(g, boxes, stroke, width, pattern) {
  const [x, y, w, h] = boxes.subarray(4 * frame, 4 * frame + 4);
  if (![x, y, w, h].every(Number.isFinite) || w <= 0 || h <= 0) return;
  g.setLineDash([]); g.lineWidth = width * 2; g.strokeStyle = 'rgba(0, 0, 0, .45)'; g.strokeRect(x, y, w, h);
  g.setLineDash(pattern); g.lineWidth = width; g.strokeStyle = stroke; g.strokeRect(x, y, w, h);
}

// ---- overlap strip: drawn once into a canvas of its own, then only the hand moves
const backdrop = document.createElement('canvas');
function strip() {
  const canvas = $('strip'), scale = devicePixelRatio || 1;
  const [w, h] = [canvas.clientWidth, canvas.clientHeight];
  if (!w || !h) return;
  canvas.width = backdrop.width = w * scale; canvas.height = backdrop.height = h * scale;
  const g = backdrop.getContext('2d');
  g.scale(scale, scale);
  const x = (f) => (f / scene.frames) * w, y = (v) => h - 4 - v * (h - 16);
  g.fillStyle = 'rgba(170, 185, 205, .2)';
  for (const [from, to] of scene.absent) g.fillRect(x(from), 10, Math.max(1, x(to) - x(from)), h - 12);
  g.strokeStyle = '#2b323a';
  for (const v of [0, 0.5, 1]) { g.beginPath(); g.moveTo(0, y(v)); g.lineTo(w, y(v)); g.stroke(); }
  for (const i of active()) {
    const values = scene.trackers[i].overlap;
    g.strokeStyle = colour(i); g.lineWidth = 1.2; g.beginPath();
    let column = -1, low = 2, high = -1, open = false;
    const flush = () => { if (high >= 0) { if (open) g.lineTo(column, y(high)); else g.moveTo(column, y(high)); g.lineTo(column, y(low)); open = true; } low = 2; high = -1; };
    for (let f = 0; f < scene.frames; f++) {
      const v = values[f], px = Math.round(x(f + 0.5));
      if (px !== column) { flush(); column = px; }
      if (Number.isNaN(v)) { flush(); open = false; continue; }
      low = Math.min(low, v); high = Math.max(high, v);
    }
    flush(); g.stroke();
    g.fillStyle = colour(i);
    for (const [a, b] of scene.trackers[i].failures) g.fillRect(x(a), h - 3, Math.max(2, x(b) - x(a)), 3);
    for (const a of scene.trackers[i].answers) {
      const px = x(a.frame - 1);
      if (!a.changed) { g.fillRect(px - 0.5, 0, 1, 5); continue; }
      g.beginPath(); g.moveTo(px - 4, 0); g.lineTo(px + 4, 0); g.lineTo(px, 8); g.fill();
    }
  }
  hand();
}
function hand() {
  const canvas = $('strip'), g = canvas.getContext('2d');
  if (!backdrop.width) return;
  g.clearRect(0, 0, canvas.width, canvas.height);
  g.drawImage(backdrop, 0, 0);
  g.fillStyle = '#fff';
  g.fillRect(((frame + 0.5) / scene.frames) * canvas.width - 1, 8, 2, canvas.height);
}

// ---- what stands beside the image
function readout() {
  $('seek').value = frame;
  if (document.activeElement !== $('number')) $('number').value = frame + 1;
  scene.trackers.forEach((t, i) => {
    const v = t.overlap[frame];
    const said = t.reported_absent.some(([a, b]) => frame >= a && frame < b);
    const cell = document.querySelector(`[data-v="${i}"]`);
    cell.textContent = said ? 'says absent' : Number.isNaN(v) ? '–' : v.toFixed(2);
    cell.classList.toggle('said', said);
  });
  const absent = scene.absent.some(([a, b]) => frame >= a && frame < b);
  document.querySelector('[data-v="truth"]').textContent = absent ? 'out of view' : '';
  const latest = active().map((i) => [i, scene.trackers[i].answers.filter((a) => a.frame - 1 <= frame).pop()]).filter(([, c]) => c);
  const key = latest.map(([i, c]) => i + ':' + c.frame).join();
  if ($('thoughts').dataset.key !== key) {
    $('thoughts').dataset.key = key;
    $('thoughts').replaceChildren(...latest.map(([i, c]) => {
      const said = element('bdi', {}, c.description);
      const node = element('article', {}, element('small', {}, `${scene.trackers[i].name.slice(0, 60)}, frame ${c.frame}${c.decision && `: ${c.decision}`}`), said);
      if (c.think) node.append(element('div', { className: 'think', dir: 'auto' }, c.think));
      node.style.borderColor = colour(i);
      return node;
    }));
  }
  hand();
}

// ---- moving
function go(index) { frame = Math.min(scene.frames - 1, Math.max(0, Math.round(index) || 0)); show(); }
function worst() {
  let at = -1, least = Infinity;
  const some = active();
  for (let f = 0; f < scene.frames; f++) {
    let sum = 0, count = 0;
    for (const i of some) { const v = scene.trackers[i].overlap[f]; if (!Number.isNaN(v)) { sum += v; count++; } }
    if (count && sum / count < least) { least = sum / count; at = f; }
  }
  if (at >= 0) go(at);
}
const after = (frames) => { const later = frames.filter((f) => f > frame); return later.length ? later[0] : frames[0]; };
const absences = () => scene.absent.map(([a]) => a);
const refreshes = () => [...new Set(active().flatMap((i) => scene.trackers[i].answers.map((a) => a.frame - 1)))].sort((a, b) => a - b);
const failures = () => [...new Set(active().flatMap((i) => scene.trackers[i].failures.map(([a]) => a)))].sort((a, b) => a - b);
function jump(frames) { if (frames.length) go(after(frames)); }
function marks() {
  $('worst').disabled = !active().length;
  $('absence').disabled = !scene.absent.length;
  $('refresh').disabled = !refreshes().length;
  $('failure').disabled = !failures().length;
  $('failures').replaceChildren(...active().filter((i) => scene.trackers[i].failures.length).map((i) => {
    const { name, failures: spans } = scene.trackers[i];
    const node = element('article', {}, element('small', {}, `${name.slice(0, 60)}: overlap below 0.1 in frames`));
    for (const [a, b] of spans.slice(0, 40)) node.append(element('button', { type: 'button', onclick: () => { play(false); go(a); } }, `${a + 1}–${b}`));
    if (spans.length > 40) node.append(element('small', {}, `and ${spans.length - 40} more (f)`));
    node.style.borderColor = colour(i);
    return node;
  }));
}

function play(on) {
  playing = on;
  $('play').textContent = on ? 'Pause' : 'Play';
  if (!on) return;
  if (frame >= scene.frames - 1) frame = 0;
  let due = performance.now();
  const step = (now) => {
    if (!playing) return;
    // The next frame waits for the image of this one: a slow disk slows the film, it does not skip.
    if (now >= due && (drawn === address(frame) || frame >= scene.images)) {
      due = Math.max(due + 1000 / Number($('rate').value), now - 100);
      if (frame >= scene.frames - 1) { play(false); return; }
      frame += 1;
      show();
    }
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

function keys(event) {
  if (event.target.matches('input[type=number], select')) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const big = event.shiftKey ? 10 : 1;
  const act = {
    ArrowLeft: () => go(frame - big), ArrowRight: () => go(frame + big), PageUp: () => go(frame - 100), PageDown: () => go(frame + 100),
    Home: () => go(0), End: () => go(scene.frames - 1), w: worst, a: () => jump(absences()), r: () => jump(refreshes()),
    f: () => jump(failures()), n: () => move(place + 1), p: () => move(place - 1),
  }[event.key];
  if (act) { event.preventDefault(); play(false); act(); }
  if (event.key === ' ' && !event.target.matches('button, input[type=checkbox]')) { event.preventDefault(); play(!playing); }
}

function row(id, name, mark, key = name) {
  const box = element('input', { type: 'checkbox', checked: shown.has(id) });
  box.addEventListener('change', () => { if (box.checked) { shown.add(id); hidden.delete(key); } else { shown.delete(id); hidden.add(key); } marks(); strip(); repaint(); readout(); });
  const value = element('span', { className: 'v' });
  value.dataset.v = id;
  return element('li', {}, element('label', { title: name.slice(0, 300) }, box, mark, element('span', { className: 't' }, name.slice(0, 200)), value));
}

const strings = (key, value) => (typeof value === 'string' ? visible(value) : value);
async function fetched(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(await answer.text());
  return JSON.parse(await answer.text(), strings);
}

/** Shows another sequence; the trackers that were chosen stay chosen. */
async function openSequence(number) {
  if (number < 0 || number >= index.sequences.length) return;
  play(false);
  const next = await fetched(`${number}/scene.json`);
  [scene, place, frame] = [next, number, 0];
  for (const bitmap of held.values()) bitmap.close();
  held.clear();
  shown.clear();
  if (!hidden.has('truth')) shown.add('truth');
  scene.truth = floats(scene.groundtruth);
  scene.trackers.forEach((t, i) => { t.boxes = floats(t.boxes); t.overlap = floats(t.overlap); if (!hidden.has(t.key)) shown.add(i); });
  document.title = `${scene.name.slice(0, 80)} – tnllt`;
  $('sequence').value = place;
  $('earlier').disabled = place === 0;
  $('later').disabled = place === index.sequences.length - 1;
  $('about').textContent = [scene.dataset, `${scene.frames.toLocaleString('en')} frames`, `${scene.width} × ${scene.height}`, scene.attributes.join(' ')].filter(Boolean).join(' · ');
  $('description').textContent = scene.language || '';
  $('description').hidden = !scene.language;
  $('total').textContent = `of ${scene.frames.toLocaleString('en')}`;
  $('seek').max = scene.frames - 1;
  $('number').max = scene.frames;
  delete $('thoughts').dataset.key;
  const truth = element('i', { className: 'truth' });
  $('trackers').replaceChildren(row('truth', 'Ground truth', truth, 'truth'), ...scene.trackers.map((t, i) => {
    const mark = element('i');
    mark.style.borderColor = colour(i);
    return row(i, t.name, mark, t.key);
  }));
  marks();
  strip();
  await show();
  document.documentElement.dataset.sequence = place;
}
const move = (number) => openSequence(number).catch((error) => notice(String(error.message || error)));

async function start() {
  index = await fetched('index.json');
  for (const name of index.unticked) hidden.add(name);
  $('sequence').append(...index.sequences.map((name, i) => element('option', { value: i }, name.slice(0, 100))));
  $('sequence').addEventListener('change', () => { move(Number($('sequence').value)); $('sequence').blur(); });
  $('earlier').addEventListener('click', () => move(place - 1));
  $('later').addEventListener('click', () => move(place + 1));
  await openSequence(index.start);
  $('seek').addEventListener('input', () => { play(false); go(Number($('seek').value)); });
  $('number').addEventListener('change', () => { play(false); go(Number($('number').value) - 1); });
  const onStrip = (event) => { if (event.buttons & 1) { play(false); go(((event.clientX - $('strip').getBoundingClientRect().left) / $('strip').clientWidth) * scene.frames - 0.5); } };
  $('strip').addEventListener('pointerdown', (event) => { $('strip').setPointerCapture(event.pointerId); onStrip(event); });
  $('strip').addEventListener('pointermove', onStrip);
  const press = { play: () => play(!playing), back: () => go(frame - 1), next: () => go(frame + 1), worst, absence: () => jump(absences()), refresh: () => jump(refreshes()), failure: () => jump(failures()) };
  for (const [id, act] of Object.entries(press)) $(id).addEventListener('click', () => { if (id !== 'play') play(false); act(); });
  addEventListener('keydown', keys);
  new ResizeObserver(strip).observe($('strip'));
  new ResizeObserver(repaint).observe($('screen'));
  document.documentElement.dataset.ready = 'yes';
}
start().catch((error) => notice(String(error.message || error)));
