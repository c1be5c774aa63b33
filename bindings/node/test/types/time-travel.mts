// The time travel of docs/node.md as it stands there.
import { Cache, ManualClock } from 'libisr';

const clock = new ManualClock();             // stands still at 1,700,000,000 s
const cache = new Cache({ clock, backoffJitter: 0 });
cache.page('/p', { revalidate: 60 }, () => 'page');
await cache.get('/p');
clock.advance(60);
console.log((await cache.get('/p')).cache);  // hit: at exactly 60 s it is still fresh
clock.advance(0.001);
console.log((await cache.get('/p')).cache);  // stale
