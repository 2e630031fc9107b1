-- Notes that a shard's run has settled an entry, so that no run of another shard takes its own failures for an outage of
-- everything; see circuit_unsettled.lua.
--
-- KEYS[1]  the circuit               {<stream>}:reclaim:<group>:circuit
--
-- Returns when that was, Unix ms by the server's clock. Where the circuit is in a newer format: an error.

if foreign then return foreign end
redis.call('HSET', KEYS[1], 'settled_ms', now)
return now
