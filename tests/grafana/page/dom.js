// The parts of a browser that @grafana/data wants when it is loaded.
import { JSDOM } from 'jsdom';

const { window } = new JSDOM('<!doctype html>', { url: 'http://localhost/' });
for (const name of ['window', 'document', 'navigator', 'HTMLElement', 'Element', 'Node', 'location', 'history']) {
  Object.defineProperty(globalThis, name, { value: window[name], configurable: true });
}
