/* @refresh reload */
import { render } from 'solid-js/web';

import '../shared/styles/base.css';
import { App } from './app';
import { followLinks } from './router';

followLinks(document);
const root = document.getElementById('app');
if (root) render(() => <App />, root);
