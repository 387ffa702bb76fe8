'use strict';

// Fills the page from its data.
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  for (const figure of document.querySelectorAll('[data-chart]')) {
    Charts.create(figure, data.charts[figure.dataset.chart]);
  }
  for (const place of document.querySelectorAll('.sheets')) Sheets.create(place, data.sheets);

  if (data.live) Live.start(data.live);

  document.addEventListener('click', async (event) => {
    const button = event.target.closest('button.copy');
    if (!button) return;
    const code = button.parentElement.querySelector('code');
    getSelection().selectAllChildren(code);
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Selected';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });

  document.documentElement.dataset.ready = 'true';
})();
