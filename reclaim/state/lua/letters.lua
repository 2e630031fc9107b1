-- Reads dead letters one after another, until there are enough or they come to so many bytes.
--
-- KEYS[1]  the dead letters          {<stream>}:reclaim:<group>:dead
--
-- ARGV[1]  the ID to begin with
-- ARGV[2]  the ID to end with
-- ARGV[3]  XRANGE for the oldest first, XREVRANGE for the newest first
-- ARGV[4]  how many are enough
-- ARGV[5]  how many bytes are enough
--
-- Returns {the dead letters, as XRANGE gives them; 1 if the end was reached, else 0}.

local letters, size, at = {}, 0, ARGV[1]
while #letters < tonumber(ARGV[4]) and size < tonumber(ARGV[5]) do
  local letter = redis.call(ARGV[3], KEYS[1], at, ARGV[2], 'COUNT', 1)[1]
  if not letter then return {letters, 1} end
  for _, value in ipairs(letter[2]) do size = size + #value end
  letters[#letters + 1] = letter
  local ms, seq = letter[1]:match('(%d+)-(%d+)')
  if #ms > 15 or #seq > 15 then break end -- Lua does not count on exactly
  if ARGV[3] == 'XRANGE' then
    at = ms .. '-' .. string.format('%d', seq + 1)
  elseif seq ~= '0' then
    at = ms .. '-' .. string.format('%d', seq - 1)
  elseif ms ~= '0' then
    at = string.format('%d', ms - 1) .. '-18446744073709551615'
  else
    return {letters, 1}
  end
end
return {letters, 0}
