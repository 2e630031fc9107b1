-- Opens the circuit until a person closes it; one that is open already is kept open until then. Sent again with the same
-- ID, it tells the same.
--
-- KEYS[1]  the circuit               {<stream>}:reclaim:<group>:circuit
--
-- ARGV[1]  the call's ID
-- ARGV[2]  the person's name
-- ARGV[3]  the reason
--
-- Returns {'opened', 'held' (it was open: from now on only a person closes it) or 'is_open' (a person had opened it
-- already), facts}.
-- facts: change, since_ms, by, who, reason, until_ms and failures, as the hash holds them; see circuit_prelude.lua.
-- Where the circuit is in a newer format: an error.

if foreign then return foreign end
if state == 'closed' then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'change', ARGV[1], 'since_ms', now, 'failures', 0, 'failed_probes', 0, 'cooldown_ms', 0)
elseif redis.call('HGET', KEYS[1], 'by') == 'person' then
  local made = redis.call('HMGET', KEYS[1], 'change', 'held')
  return {made[1] == ARGV[1] and 'opened' or made[2] == ARGV[1] and 'held' or 'is_open', facts()}
end
redis.call('HSET', KEYS[1], 'state', 'open', 'by', 'person', 'who', ARGV[2], 'reason', ARGV[3], 'until_ms', 0)
if state ~= 'closed' then redis.call('HSET', KEYS[1], 'held', ARGV[1]) end
redis.call('HDEL', KEYS[1], 'probe', 'probe_until_ms')
return {state == 'closed' and 'opened' or 'held', facts()}
