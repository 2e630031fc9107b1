-- Notes that no run is to try anything for some time, because the service that was asked says so (Retry-After). A later
-- end of the wait stays.
--
-- KEYS[1]  the circuit               {<stream>}:reclaim:<group>:circuit
--
-- ARGV[1]  how long, ms
-- ARGV[2]  who asked for it
-- ARGV[3]  how long that may be at most, ms
--
-- Returns how many ms the wait lasts from now on. Where the circuit is in a newer format: an error.

if foreign then return foreign end
local until_ms = now + left_ms(redis.call('HGET', KEYS[1], 'wait_until_ms'), tonumber(ARGV[3]))
local wanted_ms = now + tonumber(ARGV[1])
if wanted_ms > until_ms then
  until_ms = wanted_ms
  redis.call('HSET', KEYS[1], 'wait_until_ms', until_ms, 'wait_reason', ARGV[2])
end
return until_ms - now
