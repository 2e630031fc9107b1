-- What every script of the circuit begins with: `now` is the server's time in Unix ms, `state` is closed, open or
-- half_open, `facts()` tells what the last opening or closing was, and `open` opens it for failures. Before Redis 5 a script that asks for the time
-- may write only after replicate_commands (https://redis.io/docs/latest/commands/time/).
--
-- KEYS[1]  the circuit               {<stream>}:reclaim:<group>:circuit

if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function facts()
  return redis.call('HMGET', KEYS[1], 'change', 'since_ms', 'by', 'who', 'reason', 'until_ms', 'failures')
end
local function open(change, who, reason, failures, cooldown_ms)
  redis.call('HDEL', KEYS[1], 'held', 'probe', 'probe_until_ms')
  redis.call('HSET', KEYS[1], 'state', 'open', 'change', change, 'since_ms', now,
    'by', 'failures', 'who', who, 'reason', reason, 'failures', failures, 'failed_probes', 0,
    'until_ms', cooldown_ms > 0 and now + cooldown_ms or 0, 'cooldown_ms', cooldown_ms)
end
local state = redis.call('HGET', KEYS[1], 'state')
if state ~= 'open' and state ~= 'half_open' then state = 'closed' end
