-- Where move.lua and move_wide.lua take entries from: the pending list of a group. Behind delete_prelude.lua an entry is
-- deleted from its stream too, unless another group needs it; behind keep_prelude.lua it stays.
--
-- `look_at(ids)` notes at one look which of these ascending IDs are our consumer's. `refused(id, deliveries)` is nil where
-- the entry is ours with the delivery count that we left; else it is the answer to give. `leave(id)` returns the answer for
-- an entry that was added elsewhere, and `end_moves()` acknowledges all these entries; it returns the error if that fails.
--
-- KEYS[1]  the stream                <stream>
--
-- ARGV[1]  the group
-- ARGV[2]  our consumer

local ours, left, to_delete = {}, {}, {}
local function stays(id) return needed_elsewhere(id) and 2 or 0 end
local function look_at(ids)
  local rows = redis.pcall('XPENDING', KEYS[1], ARGV[1], ids[1], ids[#ids], #ids, ARGV[2])
  for _, row in ipairs(rows) do ours[row[1]] = row[4] end
end
local function refused(id, deliveries)
  if ours[id] == tonumber(deliveries) then return end
  local rows = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if rows.err and rows.err:find('NOGROUP', 1, true) then return 0 end
  if rows.err then return rows end
  local row = rows[1]
  if not row then return stays(id) end
  if row[2] ~= ARGV[2] or row[4] ~= tonumber(deliveries) then return redis.error_reply('TAKEN by somebody else') end
end
local function leave(id)
  local answer = 1 + stays(id)
  left[#left + 1] = id
  if answer == 1 then to_delete[#to_delete + 1] = id end
  return answer
end
local function end_moves()
  if #left == 0 then return end
  local acknowledged = redis.pcall('XACK', KEYS[1], ARGV[1], unpack(left))
  if type(acknowledged) == 'table' then return acknowledged end
  if #to_delete > 0 then delete(unpack(to_delete)) end
end
