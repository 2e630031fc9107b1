-- Acknowledges entries and deletes them from the stream at one stroke. An entry stays where another group needs it, and
-- where it is no longer our consumer's: whoever acknowledged or claimed it meanwhile decides about it.
--
-- KEYS[1]  the stream                <stream>
--
-- ARGV[1]  the group
-- ARGV[2]  our consumer
-- ARGV[3]  after how many looks at other groups' pending lists no further entry is begun
-- ARGV[4]… the IDs, ascending
--
-- Returns {how many of the IDs it came to, how many of these stay because another group needs them, how many of these
-- were pending until now}. Sent again, it answers the first two as long as the other groups stand where they stood.

local problem = look_at_groups()
if problem then return problem end
local acknowledge, ours, needed = {'XACK', KEYS[1], ARGV[1]}, {}, 0
for at = 4, #ARGV do
  if at > 4 and looks >= tonumber(ARGV[3]) then break end
  local id = ARGV[at]
  acknowledge[#acknowledge + 1] = id
  if needed_elsewhere(id) then
    needed = needed + 1
  else
    local rows = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1) -- an error where the group is gone
    if rows[1] and rows[1][2] == ARGV[2] then ours[#ours + 1] = id end
  end
end
local acknowledged = redis.pcall(unpack(acknowledge))
if type(acknowledged) == 'table' then return acknowledged end
if #ours > 0 then delete(unpack(ours)) end
return {#acknowledge - 3, needed, acknowledged}
