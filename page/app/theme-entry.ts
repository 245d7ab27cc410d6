// The script that runs before anything is drawn.
import { applyTheme, readTheme } from './theme.js';

applyTheme(readTheme());
