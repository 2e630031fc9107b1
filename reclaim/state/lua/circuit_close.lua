-- Closes the circuit and empties the window. A person who does so ends a wait that a service has asked for as well, also
-- where the circuit is closed. Sent again with the same ID, it tells the same.
--
-- KEYS[1]  the circuit               {<stream>}:reclaim:<group>:circuit
-- KEYS[2]  the failures, a window    {<stream>}:reclaim:<group>:failures
--
-- ARGV[1]  the call's ID
-- ARGV[2]  'probe' or 'person'
-- ARGV[3]  which run or who it is
-- ARGV[4]  the reason
-- ARGV[5]  the probe's token; a person has none
--
-- Returns {'closed', 'is_closed' (it was before) or 'not_probing', facts}.
-- facts: change, since_ms, by, who, reason, until_ms and failures, as the hash holds them; see circuit_prelude.lua.
-- Where the circuit is in a newer format: an error.

if foreign then return foreign end
local waits = left_ms(redis.call('HGET', KEYS[1], 'wait_until_ms'), nil) > 0
if state == 'closed' and not (waits and ARGV[2] == 'person') then
  return {redis.call('HGET', KEYS[1], 'change') == ARGV[1] and 'closed' or 'is_closed', facts()}
end
if ARGV[2] == 'probe' and (state ~= 'half_open' or redis.call('HGET', KEYS[1], 'probe') ~= ARGV[5]) then
  return {'not_probing', facts()}
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'state', 'closed', 'change', ARGV[1], 'since_ms', now,
  'by', ARGV[2], 'who', ARGV[3], 'reason', ARGV[4])
return {'closed', facts()}
