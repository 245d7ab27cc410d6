// Goal: a coordinator that is killed while it answers, again and again, costs no weight: the next one serves with the
// same workers, in a higher epoch, and answers the same. Real processes, native engine; `bench/recovery` does the
// same twenty times and measures.
import {
  checkRestarts,
  restartCoordinator,
  type RestartSettings,
} from '../../bench/recovery/restart-course.js';
import { goldenPath } from '../support/paths.js';

describe('a coordinator that is killed', function () {
  this.timeout(240_000);

  const settings: Omit<RestartSettings, 'workers'> = {
    model: goldenPath('tiny-6b-vit'),
    worldSize: 2,
    rounds: 2,
    serveFlags: ['--dtype', 'float32'],
    promptTokenIds: [5, 6, 7],
    maxTokens: 200,
  };

  for (const workers of ['registered', 'named'] as const)
    it(`is followed by the next at workers that are ${workers}, and nothing is read again`, async () => {
      checkRestarts(await restartCoordinator({ ...settings, workers }));
    });
});
