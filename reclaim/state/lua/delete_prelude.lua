-- What a script begins with that deletes entries with their acknowledgement. An entry is needed elsewhere while another
-- group of the stream has not read it yet, or holds it pending. No body is read.
--
-- `look_at_groups()` comes first; it returns an error that the script is to return before it changes anything, or nil.
-- `needed_elsewhere(id)` is asked with ascending IDs: one look at a group's pending list answers for all IDs up to the
-- next one that is pending there. `looks` counts these looks. `delete(…)` deletes entries by their IDs.
--
-- KEYS[1]  the stream                <stream>
--
-- ARGV[1]  the group

if redis.replicate_commands then redis.replicate_commands() end
local looks, holders, read_by_all, nearest = 0, {}, false, ''
local none = ('9'):rep(40) -- greater than any ID made sortable
local function sortable(id) -- IDs of one length compare as Redis compares IDs
  local ms, seq = id:match('(%d+)-(%d+)')
  return ('0'):rep(20 - #ms) .. ms .. ('0'):rep(20 - #seq) .. seq
end
local function look_at_groups()
  local may_delete = redis.pcall('XDEL', KEYS[1], '0-0') -- there is no such entry: only whether we may is asked
  if type(may_delete) == 'table' then return may_delete end
  local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
  if groups.err then
    if groups.err:find('no such key', 1, true) then return end
    return groups
  end
  for _, flat in ipairs(groups) do
    local group = {}
    for at = 1, #flat, 2 do group[flat[at]] = flat[at + 1] end
    if group.name ~= ARGV[1] then
      local last = sortable(group['last-delivered-id'])
      if not read_by_all or last < read_by_all then read_by_all = last end
      if group.pending > 0 then holders[#holders + 1] = {name = group.name, next = ''} end
    end
  end
end
local function needed_elsewhere(id)
  local place = sortable(id)
  if read_by_all and read_by_all < place then return true end
  if place < nearest then return false end
  nearest = none
  for _, holder in ipairs(holders) do
    if holder.next < place then
      local row = redis.call('XPENDING', KEYS[1], holder.name, id, '+', 1)[1]
      holder.next = row and sortable(row[1]) or none
      looks = looks + 1
    end
    if holder.next < nearest then nearest = holder.next end
  end
  looks = looks + #holders / 50 -- what walking through them costs
  return nearest == place
end
local function delete(...) redis.call('XDEL', KEYS[1], ...) end
