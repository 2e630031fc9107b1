-- What every script begins with that records lost entries: `record_lost` adds one to the ledger, as `LostEntry.read` reads
-- it. Its result is a table where the ledger takes nothing (the server is full, the key holds another type): the error.
--
-- A consumer's name of more than 800 bytes is cut, between two characters of UTF-8.
--
-- KEYS[2]  the lost entries          {<stream>}:reclaim:<group>:lost

if redis.replicate_commands then redis.replicate_commands() end
local function shortened(name)
  if #name <= 800 then return name end
  local at = 797
  while at > 0 and name:byte(at + 1) >= 0x80 and name:byte(at + 1) < 0xC0 do at = at - 1 end
  return name:sub(1, at) .. '\226\128\166'
end
local function record_lost(id, consumer, idle_ms, deliveries, at_ms, maxlen)
  consumer = shortened(consumer)
  return redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', maxlen, '*',
    'id', id, 'consumer', consumer, 'idle_ms', idle_ms, 'deliveries', deliveries, 'at', at_ms)
end
