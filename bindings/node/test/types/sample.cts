// The types as CommonJS sees them.
import isr = require('libisr');
import http = require('libisr/http');

const cache: isr.Cache = new isr.Cache();
export const listener: http.Handler = http.handler(cache);
