-- What every script begins with that records lost entries: `record_lost` adds one to the ledger, as `LostEntry.read` reads
-- it. Its result is a table where the ledger takes nothing (the server is full, the key holds another type): the error.
--
-- KEYS[2]  the lost entries          {<stream>}:reclaim:<group>:lost

if redis.replicate_commands then redis.replicate_commands() end
local function record_lost(id, consumer, idle_ms, deliveries, at_ms, maxlen)
  return redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', maxlen, '*',
    'id', id, 'consumer', consumer, 'idle_ms', idle_ms, 'deliveries', deliveries, 'at', at_ms)
end
