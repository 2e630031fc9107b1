-- Takes the probe away from the run that has it: the circuit is open again.
--
-- KEYS[1]  the circuit               {<stream>}:reclaim:<group>:circuit
--
-- ARGV[1]  the probe's token
-- ARGV[2]  'reopened' (the probe failed: the cool-down doubles and begins anew), or 'withdrawn' (the probe came to no
--          result: the next run may probe)
-- ARGV[3]  the longest cool-down, ms
-- ARGV[4]  the run's shard, by its number; empty: the target has none
-- ARGV[5]  how many other shards there are; see circuit_enter.lua
--
-- Returns {ARGV[2] or 'not_probing', facts}.
-- facts: change, since_ms, by, who, reason, until_ms and failures, as the hash holds them; see circuit_prelude.lua.
-- Where the circuit is in a newer format: an error.

if foreign then return foreign end
if state ~= 'half_open' or redis.call('HGET', KEYS[1], 'probe') ~= ARGV[1] then return {'not_probing', facts()} end
redis.call('HSET', KEYS[1], 'state', 'open')
redis.call('HDEL', KEYS[1], 'probe', 'probe_until_ms', 'shard')
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'passes:' .. ARGV[4], ARGV[5]) end
if ARGV[2] == 'reopened' then
  local cooldown_ms = math.min(2 * (redis.call('HGET', KEYS[1], 'cooldown_ms') or 0), tonumber(ARGV[3]))
  redis.call('HSET', KEYS[1], 'cooldown_ms', cooldown_ms, 'until_ms', cooldown_ms > 0 and now + cooldown_ms or 0)
  redis.call('HINCRBY', KEYS[1], 'failed_probes', 1)
end
return {ARGV[2], facts()}
