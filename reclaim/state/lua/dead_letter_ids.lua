-- Lists IDs of dead letters, without their bodies, until there are enough or the letters come to so many bytes.
--
-- KEYS[1]  the dead letters          {<stream>}:reclaim:<group>:dead
--
-- ARGV[1]  the first ID
-- ARGV[2]  the last ID
-- ARGV[3]  how many are enough
-- ARGV[4]  how many bytes are enough
--
-- Returns {{the dead letter's ID, its entry's ID}, …}.

local ids, size, start = {}, 0, ARGV[1]
while #ids < tonumber(ARGV[3]) and size < tonumber(ARGV[4]) do
  local letter = redis.call('XRANGE', KEYS[1], start, ARGV[2], 'COUNT', 1)[1]
  if not letter then break end
  local entry
  for at = 1, #letter[2], 2 do
    if letter[2][at] == 'id' then entry = letter[2][at + 1] end
    size = size + #letter[2][at] + #letter[2][at + 1]
  end
  ids[#ids + 1] = {letter[1], entry or letter[1]}
  local ms, seq = letter[1]:match('(%d+)-(%d+)')
  if #seq > 15 then break end -- Lua does not count on exactly
  start = ms .. '-' .. string.format('%d', seq + 1)
end
return ids
