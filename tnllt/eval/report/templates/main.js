// Speed, lint, protocol, header and footer; then everything is started.
function drawSpeed() {
  const node = $('#speed .plot');
  if (!node) return;
  const some = range(D.trackers.length).filter((t) => known(D.trackers[t].fps) && known(scoreOf(t)));
  if (!some.length) { node.replaceChildren(el('p', { class: 'note' }, 'No tracker with times has this score.')); return; }
  const width = Math.max(280, Math.min(820, node.clientWidth));
  const fps = some.map((t) => D.trackers[t].fps);
  const xs = [Math.min(...fps) / 1.5, Math.max(...fps, 30) * 1.5];
  const values = some.map((t) => scoreOf(t));
  const ys = [Math.max(0, Math.min(...values) - 0.05), Math.min(1, Math.max(...values) + 0.05)];
  const steps = Math.log10(xs[1] / xs[0]) > 3 ? [1] : [1, 2, 5];
  const xTicks = range(25).flatMap((k) => steps.map((n) => Number((n * 10 ** (k - 9)).toPrecision(1)))).filter((v) => v >= xs[0] && v <= xs[1]);
  const { root, x, y } = axes({ width, height: 360, xs, ys, logX: true, xTicks, xLabel: 'frames per second (logarithmic)', yLabel: metric().label, label: 'Speed against accuracy' });
  if (xs[0] < 25 && xs[1] > 25) root.append(svg('line', { x1: x(25), x2: x(25), y1: y(ys[0]), y2: y(ys[1]), stroke: 'var(--muted)', 'stroke-dasharray': '3 3' }));
  for (const t of some) {
    const right = x(D.trackers[t].fps) > width * 0.75;
    root.append(svg('g', { class: look(t).class + (state.shown.has(t) ? '' : ' dim') }, svg('circle', { cx: x(D.trackers[t].fps), cy: y(scoreOf(t)), r: 6, fill: 'var(--c)', ...tipped(`${short(D.trackers[t].name, 60)}\n${fixed(D.trackers[t].fps, 1)} frames per second${D.trackers[t].device ? ' on ' + short(D.trackers[t].device, 60) : ''}`) }),
      svg('text', { class: 'title', x: x(D.trackers[t].fps) + (right ? -10 : 10), y: y(scoreOf(t)) + 4, 'text-anchor': right ? 'end' : 'start' }, short(D.trackers[t].name, 24))));
  }
  node.replaceChildren(root);
}
function initSpeed() {
  const some = D.trackers.some((t) => known(t.fps));
  const root = section('speed', 'Speed against accuracy', some ? 'Times as the runs recorded them: compare only trackers that ran alone on the same device. The dashed line is 25 frames per second.' : '');
  if (!some) { root.append(el('p', { class: 'note' }, 'These results have no times. `tnllt-run` records them beside each result file.')); return; }
  root.append(el('div', { class: 'plot' }));
  const counted = D.trackers.filter((t) => t.costs);
  if (counted.length) root.append(el('ul', {}, ...counted.map((t) => el('li', {}, `${t.name}: ${t.costs}`))));
  responsive($('#speed .plot'), drawSpeed);
  drawSpeed();
  on(['metric', 'set', 'shown'], drawSpeed);
}

/** The language audit: what each tracker loses without its own text. */
function initLanguage() {
  const { rows, note } = D.language;
  if (!note) { $('#language').remove(); return; }
  const root = section('language', 'Does it read its text?', note);
  if (!rows.length) return;
  const texts = [...new Set(rows.flatMap((r) => r.against.map((c) => c.b)))];
  const cell = (c) => el('td', { class: 'num', title: c && known(c.low) ? `95 % interval ${signed(c.low)} to ${signed(c.high)}` : '' }, c ? signed(c.difference) + (c.significant ? '*' : '') : '');
  root.append(el('div', { class: 'scroll fit' }, el('table', {}, el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Tracker'),
    ['Sequences', 'Own text', ...texts.map((t) => `own − ${short(t, 30)}`)].map((h) => el('th', { class: 'num', scope: 'col' }, h)), el('th', { scope: 'col' }, 'Verdict'))),
    el('tbody', {}, rows.map((r) => el('tr', {}, el('th', { scope: 'row', class: 'cut' }, short(r.tracker, 80)), el('td', { class: 'num' }, count(r.sequences)), el('td', { class: 'num' }, fixed(r.own)),
      texts.map((t) => cell(r.against.find((c) => c.b === t))), el('td', { class: 'wrapped' }, r.words)))))));
}

function lintCsv() { return [['severity', 'code', 'tracker', 'sequence', 'row', 'message'], ...D.lint.map((f) => [f.severity, f.code, f.tracker, f.sequence, f.row, f.message])]; }
function initLint() {
  const root = section('lint', 'Findings in the result files', D.lint.length ? `${count(D.lint_total)} findings in the result files${D.lint_total > D.lint.length ? `; the first ${count(D.lint.length)} are listed` : ''}.` : '', D.lint.length ? csvButton('lint.csv', lintCsv) : '');
  if (!D.lint.length) { root.append(el('p', { class: 'note' }, 'No findings: no missing, short, broken or suspicious rows.')); return; }
  root.append(el('div', { class: 'scroll tall' }, el('table', {}, el('thead', {}, el('tr', {}, ['', 'Code', 'Tracker', 'Sequence', 'Row', 'Finding'].map((h) => el('th', { scope: 'col' }, h)))),
    el('tbody', {}, D.lint.map((f) => el('tr', {}, el('td', { class: 'sev ' + f.severity }, f.severity), el('td', {}, f.code), el('td', { class: 'cut', title: short(f.tracker || '', 200) }, short(f.tracker || '', 120)), el('td', { class: 'cut', title: short(f.sequence || '', 200) }, short(f.sequence || '', 120)), el('td', { class: 'num' }, f.row), el('td', { class: 'wrapped' }, short(f.message, 600))))))));
}

function initProtocol() {
  const root = section('protocol', `Protocol: ${D.protocol.name}`, D.protocol.summary);
  root.append(el('dl', { class: 'rules' }, D.protocol.rules.flatMap((r) => [el('dt', {}, r.rule), el('dd', {}, el('code', {}, r.value), r.why)])));
}

/** Whether the first of the order differs from the second: a lead that another draw of sequences would not undo. */
function sure([a, b]) {
  const pair = b === undefined ? null : (D.pairs[state.metric] || {})[`${Math.min(a, b)}-${Math.max(a, b)}`];
  return b === undefined || Boolean(pair && pair.p <= 0.05);
}
function initHeader() {
  const order = ranked();
  const best = order[0];
  if (best !== undefined && known(scoreOf(best))) {
    $('#lede').append(el('b', {}, short(D.trackers[best].name, 80)), `${sure(order) ? ' leads' : ' scores highest'} with a ${metric().label.toLowerCase().replace(/ \(.*\)/, '')} of `, el('b', {}, fixed(scoreOf(best))),
      order.length > 1 && known(scoreOf(order[1])) ? `, ahead of ${short(D.trackers[order[1]].name, 80)} at ${fixed(scoreOf(order[1]))}${sure(order) ? '' : '; the difference is not significant at 5 %'}.` : '.');
  }
}

function initControls() {
  $('#metric').append(...D.metrics.map((m) => el('option', { value: m.key }, m.label)));
  $('#set').append(...D.sets.map((s, i) => el('option', { value: i }, `${s.label} (${s.count})`)));
  $('#metric').addEventListener('change', (event) => change({ metric: event.target.value }));
  $('#set').addEventListener('change', (event) => change({ set: Number(event.target.value) }));
  $('#intervals').addEventListener('change', (event) => change({ intervals: event.target.checked }));
  on(['metric'], () => { $('#metric').value = state.metric; });
  initTheme((theme) => change({ theme }));
}

async function begin() {
  await readScores();
  initControls();
  initHeader();
  initBoard();
  initCurves();
  initAttributes();
  initMatrix();
  initPair();
  initSpeed();
  initHardest();
  initLanguage();
  initLint();
  initProtocol();
  initTimeline();
  on(['metric', 'set', 'shown', 'intervals'], markMore);
  markMore();
}
begin();
