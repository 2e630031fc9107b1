-- Tells all there is to know about the circuit.
--
-- KEYS[1]  the circuit               {<stream>}:reclaim:<group>:circuit
-- KEYS[2]  the failures, a window    {<stream>}:reclaim:<group>:failures
--
-- ARGV[1]  how far back failures count, ms
--
-- Returns {state, now in Unix ms, failures in the window, the circuit's names and values in turn}.

return {state, now, redis.call('ZCOUNT', KEYS[2], now - tonumber(ARGV[1]), '+inf'), redis.call('HGETALL', KEYS[1])}
