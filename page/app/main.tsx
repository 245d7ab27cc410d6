// The page's entry: one application in one element.
import { render } from 'preact';
import { App } from './app.js';

render(<App />, document.getElementById('app')!);
