-- Adds entries to the end of a stream, and removes each from where it was, at one stroke. The prelude says where that is:
-- move_pending_prelude.lua, move_letter_prelude.lua or move_copy_prelude.lua. If an entry is refused, the later ones of
-- its order key are left as they are.
--
-- The last of KEYS is the stream that the entries go to. The other keys and the first two arguments are the prelude's.
--
-- ARGV[3]  how many entries that stream keeps, about; 0: all
-- ARGV[4]  after how many looks at other groups' pending lists no further entry is begun
-- ARGV[5]… for each entry: its ID where it is; its delivery count as we left it; a number that stands for its order key;
--          how many names and values there are; these in turn
--
-- Returns an answer for each of the entries that it came to: 1 moved; 0 it was not there any more; 2 more where it stays
-- in its stream for another group; 4 added, and to be removed by another call; or the error that left it where it is:
-- TAKEN by somebody else, HELD back by an earlier one, or what XADD said.

if redis.replicate_commands then redis.replicate_commands() end
local to, most = KEYS[#KEYS], tonumber(ARGV[3])

local function add(first, last)
  if most == 0 then return redis.pcall('XADD', to, '*', unpack(ARGV, first, last)) end
  return redis.pcall('XADD', to, 'MAXLEN', '~', most, '*', unpack(ARGV, first, last))
end

local places, at = {}, 5 -- where in ARGV each entry begins
while at <= #ARGV do
  places[#places + 1] = at
  at = at + 4 + ARGV[at + 3]
end

local function move(place)
  local id = ARGV[place]
  local answer = refused(id, ARGV[place + 1])
  if answer then return answer end
  local added = add(place + 4, place + 3 + ARGV[place + 3])
  if type(added) == 'table' then return added end
  answer = leave(id)
  if answer ~= 0 and type(answer) ~= 'table' then return answer, added end
  redis.pcall('XDEL', to, added)
  return answer
end

local problem = look_at_groups()
if problem then return problem end
local ids = {}
for number, place in ipairs(places) do ids[number] = ARGV[place] end
look_at(ids)
local answers, added, is_stuck = {}, {}, {}
for number, place in ipairs(places) do
  if number > 1 and looks >= tonumber(ARGV[4]) then break end
  local key = ARGV[place + 2]
  if is_stuck[key] then
    answers[number] = redis.error_reply('HELD back by an earlier one')
  else
    answers[number], added[number] = move(place)
    is_stuck[key] = type(answers[number]) == 'table'
  end
end
problem = end_moves()
for number, id in pairs(problem and added or {}) do
  redis.pcall('XDEL', to, id)
  answers[number] = problem
end
return answers
