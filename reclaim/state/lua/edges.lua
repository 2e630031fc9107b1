-- Tells where the stream begins, and up to where entries may have been deleted from it.
--
-- KEYS[1]  the stream                <stream>
--
-- Returns {the first ID in the stream or nil, the greatest ID deleted or nil (before Redis 7)}.

local facts = {}
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for at = 1, #info, 2 do facts[info[at]] = info[at + 1] end
return {facts['first-entry'] and facts['first-entry'][1], facts['max-deleted-entry-id'] or false}
