'use strict';

const Sheets = (() => {
  return { create() {} };
})();
