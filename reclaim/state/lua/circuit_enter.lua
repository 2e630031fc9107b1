-- Says whether a run may work, and gives it the probe if it is the one to probe.
--
-- Shards take turns: each knows only its own part, so what one finds says nothing about the others. The first turn is that
-- of the shard whose run opened the circuit, `shard`. A shard that has probed leaves as many of its turns to the others as
-- there are others; `passes:<shard>` is how many it has yet to leave. So a shard that no run works on stops nobody.
--
-- KEYS[1]  the circuit               {<stream>}:reclaim:<group>:circuit
-- KEYS[2]  the lease                 {<stream>}:reclaim:<group>:lease
--
-- ARGV[1]  the token that the run has put into the lease
-- ARGV[2]  how long a probe may take, ms
-- ARGV[3]  the longest wait that a service's answer may ask for, ms
-- ARGV[4]  the run's shard, by its number; empty: the target has none
--
-- Returns {'go', streak}, {'probe', 0, facts, streak}, {'open', ms to wait or -1 if only a person closes the circuit,
-- facts}, or {'wait', ms to wait, who asked for it}.
-- streak: {the class of error, in how many runs in a row}, of runs that settled nothing; see circuit_unsettled.lua.
-- facts: change, since_ms, by, who, reason, until_ms and failures, as the hash holds them; see circuit_prelude.lua.

if foreign and state == 'closed' then return {'go', {false, false}} end
if foreign then return {'open', -1, {false, false, false, 'a newer release of reclaim', 'see there', false, false}} end
local function streak() return redis.call('HMGET', KEYS[1], 'unsettled_error', 'unsettled_runs') end
local asked = redis.call('HMGET', KEYS[1], 'wait_until_ms', 'wait_reason')
local wait_ms = left_ms(asked[1], tonumber(ARGV[3]))
if state == 'closed' then
  if wait_ms > 0 then return {'wait', wait_ms, asked[2]} end
  return {'go', streak()}
end
local kept = redis.call('HMGET', KEYS[1], 'until_ms', 'cooldown_ms', 'probe_until_ms')
if state == 'open' and (tonumber(kept[1]) or 0) == 0 then return {'open', -1, facts()} end
local free_in_ms = state == 'open' and left_ms(kept[1], tonumber(kept[2])) or left_ms(kept[3], tonumber(ARGV[2]))
local has_lease = redis.call('GET', KEYS[2]) == ARGV[1]
if state == 'half_open' and has_lease and redis.call('HGET', KEYS[1], 'probe') == ARGV[1] then
  return {'probe', 0, facts(), streak()}
end
if free_in_ms > 0 or not has_lease then return {'open', free_in_ms, facts()} end
if wait_ms > 0 then return {'wait', wait_ms, asked[2]} end
local function turns_to_leave()
  if ARGV[4] == '' then return 0 end
  local kept = redis.call('HMGET', KEYS[1], 'passes:' .. ARGV[4], 'shard')
  return tonumber(kept[1]) or (kept[2] and kept[2] ~= ARGV[4] and 1 or 0)
end
local left = turns_to_leave()
if left > 0 then
  redis.call('HSET', KEYS[1], 'passes:' .. ARGV[4], left - 1)
  return {'open', 0, facts()}
end
redis.call('HSET', KEYS[1], 'state', 'half_open', 'probe', ARGV[1], 'probe_until_ms', now + tonumber(ARGV[2]))
return {'probe', 0, facts(), streak()}
