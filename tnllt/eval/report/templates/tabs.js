// A tab per benchmark: each report is a document of its own, made when its tab is first chosen.
const pages = Object.entries(JSON.parse(document.getElementById('pages').textContent));
const frames = new Map();
const tabs = pages.map(([name], i) => {
  const tab = Object.assign(document.createElement('button'), { type: 'button', className: 'plain', textContent: name, onclick: () => choose(i) });
  tab.setAttribute('role', 'tab');
  tab.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) { const next = (i + step + pages.length) % pages.length; choose(next); tabs[next].focus(); }
  });
  return tab;
});
function choose(i) {
  if (!frames.has(i)) {
    frames.set(i, Object.assign(document.createElement('iframe'), { title: pages[i][0], srcdoc: pages[i][1] }));
    document.body.append(frames.get(i));
  }
  for (const [k, frame] of frames) frame.hidden = k !== i;
  tabs.forEach((tab, k) => { tab.setAttribute('aria-selected', k === i); tab.tabIndex = k === i ? 0 : -1; });
}
document.getElementById('tabs').append(...tabs);
choose(0);
document.documentElement.dataset.ready = 'yes';
