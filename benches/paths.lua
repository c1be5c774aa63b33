-- For wrk: a hundred pages in turn, written once.
local requests = {}
local at = 0

function init()
  for n = 0, 99 do requests[n] = wrk.format("GET", "/blog/" .. n) end
end

function request()
  at = (at + 1) % 100
  return requests[at]
end
