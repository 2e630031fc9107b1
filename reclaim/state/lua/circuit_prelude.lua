-- What every script of the circuit begins with: `now` is the server's time in Unix ms, `state` is closed, open or
-- half_open, `left_ms` says how long something lasts yet, `facts()` tells what the last opening or closing was, and `open`
-- opens it for failures (of a shard, by its number). Before Redis 5 a script that asks for the time may write only after
-- replicate_commands (https://redis.io/docs/latest/commands/time/).
--
-- Every format has the field `state`. If a newer release has written the circuit in another format, `foreign` is an error
-- that says so, else nil: a script that would change the circuit returns it.
--
-- KEYS[1]  the circuit               {<stream>}:reclaim:<group>:circuit

if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- How long it is until a moment that was written down; 0 if it is longer than it was meant to be: then the server's clock
-- has gone back (by more than a second), or somebody else has written there. `longest_ms` nil: it is not known.
local function left_ms(until_ms, longest_ms)
  local left = (tonumber(until_ms) or 0) - now
  return longest_ms and left > longest_ms + 1000 and 0 or math.max(left, 0)
end
local function facts()
  return redis.call('HMGET', KEYS[1], 'change', 'since_ms', 'by', 'who', 'reason', 'until_ms', 'failures')
end
local function open(change, who, reason, failures, cooldown_ms, shard)
  redis.call('HDEL', KEYS[1], 'held', 'probe', 'probe_until_ms', 'shard')
  if shard ~= '' then redis.call('HSET', KEYS[1], 'shard', shard) end
  redis.call('HSET', KEYS[1], 'state', 'open', 'change', change, 'since_ms', now,
    'by', 'failures', 'who', who, 'reason', reason, 'failures', failures, 'failed_probes', 0,
    'until_ms', cooldown_ms > 0 and now + cooldown_ms or 0, 'cooldown_ms', cooldown_ms)
end
local kept = redis.call('HMGET', KEYS[1], 'state', 'format')
local foreign = kept[2] and kept[2] ~= '1' and redis.error_reply('FOREIGN the circuit is in format '
  .. string.sub(kept[2], 1, 20) .. ', of a newer release of reclaim; this release leaves it as it is') or nil
local state = kept[1]
if state ~= 'open' and state ~= 'half_open' then state = 'closed' end
