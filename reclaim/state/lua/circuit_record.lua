-- Counts failures, each as a member of the window, and opens the circuit when they are too many. It adds no more members
-- than it takes to open, and none while the circuit is open. Sent again with the same ID, it counts and tells the same.
--
-- KEYS[1]  the circuit               {<stream>}:reclaim:<group>:circuit
-- KEYS[2]  the failures, a window    {<stream>}:reclaim:<group>:failures
--
-- ARGV[1]  the call's ID
-- ARGV[2]  how many failures there were
-- ARGV[3]  how many of them open the circuit
-- ARGV[4]  within how many ms
-- ARGV[5]  the cool-down, ms; 0: only a person closes the circuit
-- ARGV[6]  which run it is
-- ARGV[7]  the reason to give
--
-- Returns {'opened', 'is_open' or 'is_closed', facts}.
-- facts: change, since_ms, by, who, reason, until_ms and failures, as the hash holds them; see circuit_prelude.lua.

if state ~= 'closed' then
  return {redis.call('HGET', KEYS[1], 'change') == ARGV[1] and 'opened' or 'is_open', facts()}
end
local limit, window_ms, cooldown_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. now - window_ms)
local before = redis.call('ZCARD', KEYS[2])
local new = math.min(tonumber(ARGV[2]), limit - before)
for first = 1, new, 500 do
  local call = {'ZADD', KEYS[2]}
  for at = first, math.min(first + 499, new) do
    call[#call + 1] = now
    call[#call + 1] = ARGV[1] .. ':' .. at
  end
  redis.call(unpack(call))
end
redis.call('PEXPIRE', KEYS[2], window_ms + 1)
if redis.call('ZCARD', KEYS[2]) < limit then return {'is_closed', facts()} end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'state', 'open', 'change', ARGV[1], 'since_ms', now,
  'by', 'failures', 'who', ARGV[6], 'reason', ARGV[7], 'failures', before + tonumber(ARGV[2]), 'failed_probes', 0,
  'until_ms', cooldown_ms > 0 and now + cooldown_ms or 0, 'cooldown_ms', cooldown_ms)
return {'opened', facts()}
