'use strict';

// Messages of the server that has made the page: new points and sheets, and sections that have changed.
const Live = (() => {
  function replaceSection(title, html) {
    for (const place of document.querySelectorAll('[data-section]')) {
      if (place.dataset.title !== title) continue;
      const open = [...place.querySelectorAll('details[open] > summary')].map((summary) => summary.textContent);
      place.innerHTML = html;
      for (const summary of place.querySelectorAll('details > summary')) {
        summary.parentElement.open = open.includes(summary.textContent);
      }
    }
  }

  function apply(message) {
    if (message.reload) {
      location.reload();
      return;
    }
    if (message.lead) document.getElementById('lead').textContent = message.lead;
    for (const [title, html] of Object.entries(message.sections ?? {})) replaceSection(title, html);
    for (const { chart, series, points } of message.points ?? []) Charts.append(chart, series, points);
    for (const { run, sheet } of message.sheets ?? []) Sheets.add(run, sheet);
  }

  function start(live) {
    const banner = document.getElementById('connection');
    const source = new EventSource(live.events);
    source.addEventListener('open', () => { banner.hidden = true; });
    source.addEventListener('message', (event) => apply(JSON.parse(event.data)));
    source.addEventListener('error', () => {
      banner.textContent = source.readyState === EventSource.CLOSED
        ? 'The server refuses this page. Open the address that it has printed.'
        : 'The server does not answer, so this page is not updated. It is asked again every few seconds.';
      banner.hidden = false;
    });
  }

  return { start };
})();
