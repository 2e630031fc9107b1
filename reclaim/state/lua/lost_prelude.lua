-- What every script begins with that records lost entries. `record_lost` adds one to the ledger, as `LostEntry.read` reads
-- it; its result is a table where the ledger takes nothing: the error. `ledger_failure` tells beforehand why the ledger
-- would take nothing, or false; a lack of memory is not told, because it does not stop a script that has begun to write.
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
local function record_lost(row, at_ms, maxlen)
  return redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', maxlen, '*',
    'id', row[1], 'consumer', shortened(row[2]), 'idle_ms', row[3], 'deliveries', row[4], 'at', at_ms)
end
local function ledger_failure()
  local kind = redis.call('TYPE', KEYS[2]).ok
  if kind ~= 'none' and kind ~= 'stream' then return 'WRONGTYPE the key of the lost entries holds a ' .. kind end
  if redis.acl_check_cmd and not redis.acl_check_cmd('XADD', KEYS[2], '*', 'id', '') then
    return "NOPERM this user may not run 'xadd' on the key of the lost entries"
  end
  return false
end
