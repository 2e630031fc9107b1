-- Removes dead letters from the first on, until they are enough or come to so many bytes.
--
-- KEYS[1]  the dead letters          {<stream>}:reclaim:<group>:dead
--
-- ARGV[1]  the last ID to remove
-- ARGV[2]  how many are enough
-- ARGV[3]  how many bytes are enough
--
-- Returns {how many were removed, 1 if there may be more, else 0}.

if redis.replicate_commands then redis.replicate_commands() end
local discarded, size = 0, 0
while discarded < tonumber(ARGV[2]) and size < tonumber(ARGV[3]) do
  local letter = redis.call('XRANGE', KEYS[1], '-', ARGV[1], 'COUNT', 1)[1]
  if not letter then return {discarded, 0} end
  for _, value in ipairs(letter[2]) do size = size + #value end
  redis.call('XDEL', KEYS[1], letter[1])
  discarded = discarded + 1
end
return {discarded, 1}
